"""The demo says why it ends early, and asks every variant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts import demo


def test_the_recipe_is_the_one_that_is_named_or_qa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["demo"])
    assert demo.parse_recipe() == "recipes/qa.py"
    monkeypatch.setattr(sys, "argv", ["demo", "recipes/tickets.py"])
    assert demo.parse_recipe() == "recipes/tickets.py"


def test_it_says_which_log_tells_why_serve_did_not_come_up(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"]) as server:
        server.wait()
    with pytest.raises(SystemExit, match=r"did not come up; .*serve\.log says why"):
        demo.wait_until_ready(server, "http://127.0.0.1:9", tmp_path / "serve.log")


def test_it_asks_every_variant_but_not_the_base() -> None:
    kinds = {"qa-prompt": "prompt", "qa-distilled": "distilled", "smollm2-135m": "base"}
    cards: list[dict[str, Any]] = [{"id": name, "promptstill": {"kind": kind}} for name, kind in kinds.items()]
    assert demo.variants([*cards, {"id": "other"}]) == ["qa-prompt", "qa-distilled"]
