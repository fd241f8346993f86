"""`optimize --gate`: exit code 0 while a prompt keeps its dev score, 3 when it drops, 2 when nobody can tell."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from optimizer.run.folder import RunFolder
from tests.support.codes import RECIPE, knows_with_demos, run
from tests.support.fake import Answer, FakeEndpoint


def moved(finished: RunFolder, folder: Path, **changes: Any) -> Path:
    """best.json with its recipe in another folder; `changes` replace parts of it."""
    folder.mkdir(exist_ok=True)
    best = json.loads(finished.best_path.read_text())
    best["recipe"]["path"] = "gone/codes.py"
    (folder / "best.json").write_text(json.dumps({**best, **changes}))
    shutil.copy(finished.path / "recipe.py", folder / "codes.py")
    return folder


def gate(folder: Path, answer: Answer, *extra: str) -> tuple[subprocess.CompletedProcess[str], FakeEndpoint]:
    with FakeEndpoint(answer) as fake:
        argv = [sys.executable, "-m", "optimizer", "--gate", f"{folder.name}/best.json", "--base-url", fake.base_url]
        return run([*argv, *extra], folder.parent), fake


def test_a_prompt_that_keeps_its_score_passes_wherever_it_was_moved(finished_run: RunFolder, tmp_path: Path) -> None:
    folder = moved(finished_run, tmp_path / "moved")
    done, fake = gate(folder, knows_with_demos)
    assert done.returncode == 0, done.stderr
    assert "passed" in done.stdout and "+0.0 points on 40 dev rows, paired" in done.stdout
    assert done.stdout.endswith("serve moved/best.json\n")
    assert sum(fake.calls.values()) == 40, "every dev row is asked anew, and no test row"


def test_a_drop_beyond_doubt_exits_with_three(finished_run: RunFolder, tmp_path: Path) -> None:
    folder = moved(finished_run, tmp_path / "moved")
    done, _ = gate(folder, lambda body: "c?")
    assert done.returncode == 3, done.stderr
    assert "FAILED" in done.stdout and "its interval lies below zero" in done.stdout and "Traceback" not in done.stderr
    assert "\nsearch again: " in done.stdout and done.stdout.endswith("optimize moved/codes.py\n")
    allowed, _ = gate(folder, lambda body: "c?", "--max-drop", "1")
    assert allowed.returncode == 0 and "passed" in allowed.stdout


def test_without_scores_by_row_the_means_are_compared(finished_run: RunFolder, tmp_path: Path) -> None:
    scores = json.loads(finished_run.best_path.read_text())["scores"]
    del scores["dev"]["shipped_rows"]
    folder = moved(finished_run, tmp_path / "moved", scores=scores)
    same, _ = gate(folder, knows_with_demos)
    dropped, _ = gate(folder, lambda body: "c?")
    assert (same.returncode, dropped.returncode) == (0, 3), same.stderr + dropped.stderr
    assert "unpaired 95 % interval" in same.stdout


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (RECIPE + "\n# changed\n", "The recipe of"),
        (RECIPE.replace("range(120)", "range(121)"), "The recipe of"),
        (None, "is not there"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    recipe: str | None, says: str, finished_run: RunFolder, tmp_path: Path
) -> None:
    folder = moved(finished_run, tmp_path / "moved")
    (folder / "codes.py").unlink() if recipe is None else (folder / "codes.py").write_text(recipe)
    done, fake = gate(folder, knows_with_demos)
    assert done.returncode == 2 and says in done.stderr and not fake.calls


def test_other_dev_rows_are_refused(finished_run: RunFolder, tmp_path: Path) -> None:
    splits = {"sha256": {"dev": "0" * 64}}
    done, fake = gate(moved(finished_run, tmp_path / "moved", splits=splits), knows_with_demos)
    assert done.returncode == 2 and "The dev rows of" in done.stderr and not fake.calls


def test_a_seed_prompt_without_dev_scores_is_refused(finished_run: RunFolder, tmp_path: Path) -> None:
    scores = json.loads(finished_run.best_path.read_text())["scores"]
    scores["dev"]["shipped_rows"] = {}
    done, fake = gate(moved(finished_run, tmp_path / "moved", scores=scores, shipped="baseline"), knows_with_demos)
    assert done.returncode == 2 and "holds no dev score of its prompt" in done.stderr and not fake.calls
