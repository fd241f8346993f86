"""`python -m benchmarks`: a part that fails is named, and stops no other."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks import results
from benchmarks.__main__ import main, measure_parts
from benchmarks.cells import cell, read
from promptstill.errors import UserError


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two parts, of which the first fails."""

    def fails(fast: bool) -> None:
        raise UserError("The engine is not here.", "", "Start it.")

    def works(fast: bool) -> None:
        cell("works", {"n": 1}, lambda: {"text": "it works"}, folder=tmp_path / "fast" if fast else tmp_path)

    def section(cells: list[dict[str, Any]]) -> str:
        return f"## Works\n\n{cells[0]['result']['text']}"

    for run in (fails, works):
        module = ModuleType(f"part_that_{run.__name__}")
        vars(module).update(run=run, section=section)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(results.PARTS, run.__name__, module.__name__)
    return ["fails", "works"]


def test_a_failed_part_is_named_and_stops_no_other(tmp_path: Path, parts: list[str]) -> None:
    page = tmp_path / "RESULTS.md"
    assert measure_parts(parts, fast=True, folder=tmp_path, page=page) == ["fails"]
    text = page.read_text()
    assert "Not measured: The engine is not here." in text and "it works" in text and "Fast mode" in text
    assert "`python -m benchmarks --fast works`: 1 cells" in text
    assert len(read("works", tmp_path / "fast")) == 1 and not read("works", tmp_path)


def test_a_part_that_works_again_is_no_longer_named_as_failed(tmp_path: Path, parts: list[str]) -> None:
    page = tmp_path / "RESULTS.md"
    measure_parts(parts, fast=False, folder=tmp_path, page=page)
    vars(sys.modules["part_that_fails"])["run"] = lambda fast: None
    assert measure_parts(["fails"], fast=False, folder=tmp_path, page=page) == []
    assert "The engine is not here" not in page.read_text()


def test_a_part_that_cannot_be_shown_leaves_the_page_to_the_others(tmp_path: Path, parts: list[str]) -> None:
    page = tmp_path / "RESULTS.md"
    cell("fails", {"n": 1}, lambda: {"other": 1}, folder=tmp_path)
    measure_parts(["works"], fast=False, folder=tmp_path, page=page)
    measure_parts(["fails"], fast=False, folder=tmp_path, page=page)
    assert "Its cells cannot be shown: KeyError 'text'" in page.read_text() and "it works" in page.read_text()


def test_an_unknown_part_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "speed"])
    with pytest.raises(SystemExit, match="2"):
        main()


@pytest.mark.parametrize("part", results.PARTS)
def test_every_part_can_be_run_and_rendered(part: str) -> None:
    module = import_module(results.PARTS[part])
    assert callable(module.run) and callable(module.section)
