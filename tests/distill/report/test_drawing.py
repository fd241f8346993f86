"""A page that cannot be drawn hides no error of the work, in `distill` as in `optimize`."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.folder import DistilledFolder
from distill.report.drawing import draw_report


def test_a_page_of_a_distillation_that_cannot_be_drawn_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no font")

    said: list[str] = []
    monkeypatch.setattr("distill.report.page.write_report", fail)
    draw_report(DistilledFolder(tmp_path), said.append)
    assert len(said) == 1 and "no font" in said[0] and "distill --report" in said[0]
