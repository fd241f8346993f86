"""The changelog's converter: a best.json of schema version 1 becomes one that this version reads."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from optimizer.run.folder import RunFolder
from promptstill import Prompt, UserError
from promptstill.files import read_json
from tests.support import ROOT


def test_an_artifact_of_version_1_is_refused_and_then_converted(finished_run: RunFolder, tmp_path: Path) -> None:
    now = read_json(finished_run.best_path)
    del now["baseline"]  # version 1 had none
    path = tmp_path / "best.json"
    path.write_text(json.dumps(as_version_1(now)), encoding="utf-8")
    with pytest.raises(UserError, match="schema_version 1"):
        Prompt.load(path)
    (converter,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "CHANGELOG.md").read_text(), re.M | re.S)
    subprocess.run([sys.executable, "-c", converter, path], check=True)
    assert read_json(path) == now and Prompt.load(path).id == now["id"]


def as_version_1(best: dict[str, object]) -> dict[str, object]:
    """The same artifact by the names of version 1."""
    old = json.dumps(best | {"schema_version": 1})
    names = {"over_baseline": "over_seed", "rows_evaluated": "rows_bought", "baseline": "seed"}
    for new, name in names.items():
        old = old.replace(f'"{new}"', f'"{name}"')
    return dict(json.loads(old))
