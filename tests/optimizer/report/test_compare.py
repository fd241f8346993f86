"""`optimize --compare`: runs on the same rows side by side, and the refusal of all others."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from optimizer.report.compare import compare_runs, open_runs
from optimizer.run.folder import RunFolder
from promptstill import UserError
from promptstill.files import write_jsonl
from tests.support.codes import run
from tests.support.finished import copied


def worse_on_dev(finished: RunFolder, folder: Path) -> RunFolder:
    """A copy of the run whose winner is of another prompt, and scores 0 on dev."""
    worse = copied(finished, folder)
    best = json.loads(worse.best_path.read_text())
    best["scores"]["dev"]["winner"]["mean"] = 0.0
    worse.best_path.write_text(json.dumps(best))
    worse.note(measured=[{"winners": ["another"], "rows": worse.record["measured"][0]["rows"]}])
    return worse


def test_runs_on_the_same_rows_stand_side_by_side(finished_run: RunFolder, tmp_path: Path) -> None:
    worse = worse_on_dev(finished_run, tmp_path)
    lines = [json.loads(line) for line in worse.test_path.read_text().splitlines()]
    for line in lines:
        line["answers"]["winner"]["score"] = 0.0
    write_jsonl(worse.test_path, reversed(lines))
    argv = [sys.executable, "-m", "optimizer", "--compare", str(worse.path), str(finished_run.path), "-o", "both.html"]
    done = run(argv, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the same 40 rows in every run" in done.stdout and "look at it           both.html\n" in done.stdout
    assert done.stdout.endswith(f"optimize --show {finished_run.best_path}\n"), "the better one on dev"
    told = (
        "2 winners have been measured on these 40 test rows so far. Choose by dev: the highest of several on test looks"
    )
    assert told in " ".join(done.stdout.split())
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert page.count('<details class="differ loss"') > 0 and "2 runs compared" in page and told in page
    first, second = open_runs([worse.path, finished_run.path])
    assert (first.path, second.path) == (finished_run.path, worse.path)
    assert first.over is None and second.over is not None and second.over.high < 0
    mean = sum(row.answers["winner"].score for row in first.facts.rows) / 40
    assert second.over.mean == pytest.approx(-mean), "rows are paired by what they are, not by where they stand"


def test_the_best_on_dev_is_recommended_whatever_test_says(finished_run: RunFolder, tmp_path: Path) -> None:
    lucky = worse_on_dev(finished_run, tmp_path)
    best = json.loads(lucky.best_path.read_text())
    best["scores"]["test"]["winner"]["score"]["mean"] = 1.0
    lucky.best_path.write_text(json.dumps(best))
    _, recommended = compare_runs([lucky.path, finished_run.path], tmp_path / "page.html")
    assert recommended == finished_run.best_path


def test_other_rows_an_unfinished_run_and_a_lone_one_are_refused(finished_run: RunFolder, tmp_path: Path) -> None:
    other = copied(finished_run, tmp_path)
    record = json.loads((other.path / "run.json").read_text())
    record["splits"]["sha256"]["test"] = "0" * 64
    (other.path / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="have different test rows"):
        open_runs([finished_run.path, other.path])
    other.best_path.unlink()
    with pytest.raises(UserError, match="has no test scores to compare"):
        open_runs([finished_run.path, other.path])
    with pytest.raises(UserError, match="two run folders or more"):
        open_runs([finished_run.path])
