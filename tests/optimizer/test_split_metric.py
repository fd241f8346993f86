"""A whole run by a metric of a whole split: dev, test, gains and files are of it, and --compare compares by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from optimizer import SearchSettings, optimize
from optimizer.report.compare import open_runs
from optimizer.run.result import RunResult
from promptstill.scoring.rows import read_test_rows
from promptstill.task.metrics.whole import split_score
from tests.support.codes import RECIPE, knows_with_demos
from tests.support.fake import FakeEndpoint


def run(folder: Path, seed: int = 0) -> RunResult:
    (folder / "codes.py").write_text(RECIPE.replace("exact_match", "balanced_accuracy"))
    with FakeEndpoint(knows_with_demos) as fake:
        settings = SearchSettings(recipe=str(folder / "codes.py"), base_url=fake.base_url, trials=8, seed=seed)
        return optimize(settings, runs=folder / "runs", output=None)


def test_a_run_is_scored_by_the_split(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.verdict and result.best
    rows = read_test_rows(result.run.test_path)
    for arm, report in result.verdict.reports.items():
        labels = [row.answers[arm].labels for row in rows]
        assert report.score.mean == pytest.approx(split_score([one for one in labels if one]))
    over = result.verdict.over_baseline
    assert over.mean == pytest.approx(result.verdict.winner.score.mean - result.verdict.baseline.score.mean)
    assert result.best["scores"]["dev"]["winner"]["mean"] == pytest.approx(result.outcome.winner.value)
    trials = [json.loads(line) for line in result.run.trials_path.read_text().splitlines()]
    assert all(len(trial["labels"]) == trial["rows"] for trial in trials)
    other = run(tmp_path, seed=1)
    compared = open_runs([result.run.path, other.run.path])
    gain, (first, second) = compared[1].over, (one.test["winner"]["score"]["mean"] for one in compared)
    assert gain and gain.mean == pytest.approx(second - first)
