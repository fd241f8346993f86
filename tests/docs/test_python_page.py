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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "codes.py").write_text(RECIPE)
    cells = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/python.md").read_text(), re.M | re.S)
    names: dict[str, Any] = {}
    with FakeEndpoint(knows_with_demos) as fake:

        async def notebook() -> None:
            for cell in cells:
                here = f'recipe="codes.py", base_url="{fake.base_url}"'
                exec(cell.replace('recipe="recipes/qa.py"', here), names)  # noqa: S102 (the page's own cells)

        asyncio.run(notebook())
    assert len(cells) == 3 and (tmp_path / "best.json").is_file()
    assert names["prompt"].id == names["result"].best["id"]
    assert names["more"].run.path == names["limited"].run.path
    assert "trials, best" in capsys.readouterr().out
