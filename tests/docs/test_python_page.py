"""docs/python.md as a notebook: its cells, in order, inside a running event loop."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.codes import RECIPE, knows_with_demos
from tests.support.fake import FakeEndpoint


def test_the_page_runs_as_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fake_vllm: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAKE_VLLM_ANSWERS", "tests.support.codes:knows_with_demos")
    (tmp_path / "codes.py").write_text(RECIPE)
    page = (ROOT / "docs/python.md").read_text()
    names: dict[str, Any] = {}
    with FakeEndpoint(knows_with_demos) as fake:
        changes = {
            'recipe="recipes/qa.py"': f'recipe="codes.py", base_url="{fake.base_url}"',
            "ServeSettings(": f'ServeSettings(model="{fake_vllm}", ',
            '"qa-prompt"': '"codes-prompt"',
            'context="The pier opened in 1899.", question="When did the pier open?"': 'word="w4 even 4"',
        }
        for theirs, own in changes.items():
            assert theirs in page
            page = page.replace(theirs, own)
        cells = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)

        async def notebook() -> None:
            for cell in cells:
                exec(cell, names)  # noqa: S102 (the page's own cells)

        asyncio.run(notebook())
    assert len(cells) == 4 and (tmp_path / "best.json").is_file()
    assert names["prompt"].id == names["result"].best["id"]
    assert names["more"].run.path == names["limited"].run.path
    printed = capsys.readouterr().out
    assert "trials, best" in printed and "starting vLLM" in printed
    assert f"{names['server'].base_url} ('codes-prompt', 'fake')\n{{'code': 'c" in printed
