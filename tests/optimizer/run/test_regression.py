"""`optimize --gate`: exit code 0 while a prompt keeps its dev score, 3 when it drops, 2 when nobody can tell."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.run.folder import RunFolder
from optimizer.run.regression import RegressionCheck, compare_with_stored
from promptstill.scoring.answer import NO_REPLY, ModelAnswer
from promptstill.scoring.evaluate import ScoredRow, mean_score, to_scored_row
from promptstill.stats import mean_interval
from promptstill.task.examples import Example
from promptstill.task.metrics import MetricResult
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
    assert "The scores of now are stored in moved/best.json: later gates are held against them." in done.stdout
    assert sum(fake.calls.values()) == 40, "every dev row is asked anew, and no test row"


def test_a_drop_beyond_doubt_exits_with_three(finished_run: RunFolder, tmp_path: Path) -> None:
    folder = moved(finished_run, tmp_path / "moved")
    done, _ = gate(folder, lambda body: "c?")
    assert done.returncode == 3, done.stderr
    assert "FAILED" in done.stdout and "Traceback" not in done.stderr
    assert "A drop fails when it is over 2 points and its interval lies below zero, in both." in done.stdout
    assert "unpaired 95 % interval" in done.stdout and "gate_rows" not in (folder / "best.json").read_text()
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
    splits = {"seed": 0, "sha256": {"dev": "0" * 64}}
    done, fake = gate(moved(finished_run, tmp_path / "moved", splits=splits), knows_with_demos)
    assert done.returncode == 2 and "The dev rows of" in done.stderr and not fake.calls


def test_a_seed_prompt_without_dev_scores_is_refused(finished_run: RunFolder, tmp_path: Path) -> None:
    scores = json.loads(finished_run.best_path.read_text())["scores"]
    scores["dev"]["shipped_rows"] = {}
    done, fake = gate(moved(finished_run, tmp_path / "moved", scores=scores, shipped="baseline"), knows_with_demos)
    assert done.returncode == 2 and "holds no dev score of its prompt" in done.stderr and not fake.calls


def test_later_gates_are_held_against_the_first_one_s_scores(finished_run: RunFolder, tmp_path: Path) -> None:
    folder = moved(finished_run, tmp_path / "moved")
    best = json.loads((folder / "best.json").read_text())
    best["scores"]["dev"]["shipped_rows"] = dict.fromkeys(best["scores"]["dev"]["shipped_rows"], 1.0)  # all luck
    (folder / "best.json").write_text(json.dumps(best))
    first, _ = gate(folder, knows_with_demos)
    stored = json.loads((folder / "best.json").read_text())
    assert first.returncode == 0 and stored["scores"]["dev"].pop("gate_rows").keys() == {
        *best["scores"]["dev"]["shipped_rows"]
    }
    assert stored == best and "passed: 100.0 in the search" in first.stdout
    later, _ = gate(folder, knows_with_demos)
    assert later.returncode == 0 and "+0.0 points on 40 dev rows, paired" in later.stdout
    assert "at the first gate" in later.stdout and "are stored" not in later.stdout
    dropped, _ = gate(folder, lambda body: "c?")
    assert dropped.returncode == 3 and "its interval lies below zero." in dropped.stdout


def test_another_model_s_scores_are_no_reference(finished_run: RunFolder, tmp_path: Path) -> None:
    folder = moved(finished_run, tmp_path / "moved")
    done, _ = gate(folder, knows_with_demos, "--model", "other")
    assert done.returncode == 0 and "are stored" not in done.stdout
    assert "gate_rows" not in (folder / "best.json").read_text()


def scored(chances: Sequence[float], kind: str, chance: random.Random) -> list[ScoredRow]:
    """A prompt's results where each row's reply is right by chance."""
    examples = [Example(f"{kind}{n}", "", {}, {}, {}, f"{kind}{n}") for n in range(len(chances))]
    right = [float(chance.random() < share) for share in chances]
    return [
        to_scored_row(one, ModelAnswer(NO_REPLY, {}), MetricResult(score))
        for one, score in zip(examples, right, strict=True)
    ]


def alarms(seed: int) -> tuple[bool, bool, bool]:
    """Whether an unchanged prompt fails: against its search's dev scores alone, at the first gate, and at a later one.

    It is the best of 16 that are equally good, on 60 rows whose replies vary.
    """
    chance = random.Random(seed)
    dev, test = ([chance.choice((0.1, 0.5, 0.9)) for _ in range(60)] for _ in range(2))
    found = max((scored(dev, "dev", chance) for _ in range(16)), key=mean_score)
    score = asdict(mean_interval([one.score for one in scored(test, "test", chance)], 0))
    stored: dict[str, Any] = {"shipped_rows": {one.example.id: one.score for one in found}}
    scores = {"dev": stored, "test": {"winner": {"score": score}}}
    artifact = {"search": {"seed": 0}, "shipped": "winner", "scores": scores}
    now = scored(dev, "dev", chance)
    first = [one.dropped(0.02) for one in compare_with_stored(artifact, now)]
    stored["gate_rows"] = {one.example.id: one.score for one in now}
    (later,) = compare_with_stored(artifact, scored(dev, "dev", chance))
    return first[0], all(first), later.dropped(0.02)


@pytest.mark.parametrize(("groups", "failed"), [(4, False), (5, True)])
def test_rows_of_fewer_than_five_groups_fail_no_build_and_say_so(groups: int, failed: bool) -> None:
    now = [
        replace(one, example=replace(one.example, group=str(n % groups)))
        for n, one in enumerate(scored([0.0] * 40, "dev", random.Random(0)))
    ]
    stored = {"gate_rows": {one.example.id: 1.0 for one in now}}
    check = RegressionCheck(compare_with_stored({"search": {"seed": 0}, "scores": {"dev": stored}}, now), 0.02, Path())
    assert check.failed == failed
    note = (
        "The rows cannot tell: 40 dev rows of few or unequal groups count as 4.0 groups, and a claim needs 5 or more."
    )
    assert (f"{note} So no drop can fail here." in check.lines()) == (not failed)


def test_a_winner_s_luck_raises_no_false_alarm() -> None:
    search_alone, first, later = (sum(one) for one in zip(*map(alarms, range(200)), strict=True))
    assert search_alone > 0.15 * 200, "by its search's scores a lucky prompt fails again and again"
    assert first <= 0.025 * 200 and later <= 0.05 * 200
