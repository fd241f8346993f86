"""docs/dspy.md as a program: its recipe is searched, and its cells run in order."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from promptstill import Prompt
from tests.optimizer.program import triage
from tests.support import ROOT
from tests.support.codes import run
from tests.support.fake import FakeEndpoint


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    cells = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/dspy.md").read_text(), re.M | re.S)
    (tmp_path / "desk.py").write_text(cells[0])
    options = ("--model", "fake", "--trials", "2", "--proposals", "0", "--no-dspy")
    with FakeEndpoint(triage) as fake:
        done = run([sys.executable, "-m", "optimizer", "desk.py", "--base-url", fake.base_url, *options], tmp_path)
    assert done.returncode == 0, done.stderr
    names: dict[str, Any] = {}
    for cell in cells:
        exec(cell, names)  # noqa: S102 (the page's own cells)
    prompt = Prompt.load(tmp_path / "best.json")
    assert names["prompt"].messages({"plain": "w1"}) == prompt.messages({"plain": "w1"})
    assert len(cells) == 3 and capsys.readouterr().out == f"{prompt.instruction}\n"
