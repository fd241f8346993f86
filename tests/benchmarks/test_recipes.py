"""The recipes' table comes from artifacts, and says what was not measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import recipes
from benchmarks.cells import cell
from benchmarks.question import comparison_table, short_table


def scored(mean: float, tokens: float = 100.0) -> dict[str, Any]:
    score = {"mean": mean, "low": mean - 0.05, "high": mean + 0.05, "n": 90}
    speed = {"latency_s": 0.4, "requests_per_s": 500 / tokens}
    return {"score": score, "parse_failures": 0.0, "prompt_tokens": tokens, "completion_tokens": 5.0, "speed": speed,
            "seconds": 12.0}  # fmt: skip


def verdict(student: float) -> dict[str, Any]:
    """A verdict.json of a student over a best prompt of 50.0."""
    mean = student - 0.5
    return {
        "sentence": f"{'Distil' if mean > 0 else 'Do not distil'}: the student is another ({100 * mean:+.1f} points).",
        "distil": mean > 0,
        "gains": {"over_best": {"mean": mean, "low": mean - 0.05, "high": mean + 0.05, "p": 0.01, "n": 90}},
        "cost": {"training_rows": 30, "teacher_seconds": 60.0, "training_seconds": 240.0, "retention": [0.4, 0.35]},
        "prompt_tokens_saved": 0.75,
        "break_even_requests": None,
        "arms": {"base + best prompt": scored(0.5, 400.0), "student + bare prompt": scored(student)},
    }


def write_artifacts(folder: Path, student: float | None) -> None:
    gain = {"mean": 0.4, "low": 0.3, "high": 0.5}
    rivals = {"majority": {**scored(0.15), "gain": gain}, "nearest": {**scored(0.25), "gain": {**gain, "mean": 0.25}}}
    test = {"baseline": scored(0.1), "dspy": scored(0.2), "winner": scored(0.5), "rivals": rivals}
    search = {"seed": 3, "seconds": 90.0, "trials": 16, "rows_evaluated": 700, "spent": {}}
    best = {
        "scores": {"test": {**test, "gains": {"over_baseline": gain, "over_dspy": gain}}},
        "search": search,
        "splits": {"train": 40, "dev": 20, "test": 90},
    }
    (folder / "distilled").mkdir(parents=True)
    (folder / "best.json").write_text(json.dumps({**best, "created_at": "2026-01-02T03:04:05+00:00"}))
    if student is not None:
        (folder / "distilled" / "verdict.json").write_text(json.dumps(verdict(student)))


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cells of three recipes: a student that wins, one that loses, and none."""
    monkeypatch.chdir(tmp_path)
    write_artifacts(recipes.FOLDER / "qa", 0.6)
    write_artifacts(recipes.FOLDER / "extract", 0.3)
    write_artifacts(recipes.FOLDER / "math", None)
    results = tmp_path / "results"
    for name, what, make in (
        ("qa", recipes.PROMPT, recipes.optimize),
        ("qa", recipes.TRAINED, recipes.distill),
        ("extract", recipes.PROMPT, recipes.optimize),
        ("extract", recipes.TRAINED, recipes.distill),
        ("math", recipes.PROMPT, recipes.optimize),
    ):
        cell(recipes.PART, {"recipe": name, "what": what}, partial(make, name), folder=results)
    return results


def test_the_table_shows_what_the_artifacts_hold_and_what_was_not_measured(results: Path) -> None:
    head, rule, qa, extract, math = recipes.table(results).splitlines()
    cells = ["`qa.py`", "90", "10.0 (5.0 to 15.0)", "20.0 (15.0 to 25.0)"]
    cells += ["15.0 (10.0 to 20.0)", "25.0 (20.0 to 30.0)", "not measured", "50.0 (45.0 to 55.0)"]
    cells += ["+40.0 (+30.0 to +50.0)", "+25.0 (+30.0 to +50.0)"]
    cells += ["60.0 (55.0 to 65.0)", "not measured", "3", "2026-01-02"]
    assert qa == "| " + " | ".join(cells) + " |"
    assert "| 30.0 (25.0 to 35.0) with `--gold` | not measured |" in extract
    assert math.startswith("| `math.py` |") and math.count("not measured") == 3
    assert head.count("|") == rule.count("|") == qa.count("|")


def test_the_short_table_has_a_row_a_recipe_with_its_verdict(results: Path) -> None:
    _, _, qa, extract, math = short_table(recipes.comparisons(results)).splitlines()
    start = "10.0 | 25.0 (nearest rows) | 50.0"
    assert qa == f"| `qa.py` | {start} | 60.0 | not measured | Distil: the student is another. |"
    assert f"{start} | 30.0 with `--gold` | not measured | Do not distil: the student is another. |" in extract
    assert math == f"| `math.py` | {start} | not measured | not measured | not measured |"


def test_the_comparison_sets_the_best_student_beside_the_worst(results: Path) -> None:
    _, _, training, data, cost, change = comparison_table(recipes.comparisons(results)).splitlines()
    assert "| `qa.py`: 5 min of training. Distil: the student is another (+10.0 points) |" in training
    assert "| `extract.py`: 5 min" in training and training.index("`qa.py`") < training.index("`extract.py`")
    assert "40 train rows gave 30 answers to train on. Trained on the teacher's answers 60.0, on as many labels" in data
    assert "100 prompt tokens in place of 400; 5.0 requests/s by the adapter, 1.2 by the prompt" in cost
    assert "measured with 90 calls" in change and "on an off-task probe 40.0 before training, 35.0 after" in change


def test_a_cell_without_costs_shows_what_it_has(results: Path) -> None:
    found = [replace(one, student=without(one.student, "cost")) for one in recipes.comparisons(results) if one.student]
    _, _, training, data, cost, change = comparison_table(found).splitlines()
    assert "| `qa.py`: Distil: the student is another (+10.0 points) |" in training
    assert "`qa.py`: Trained on the teacher's answers 60.0" in data and "the prompt takes 100 tokens a request" in cost
    assert "probe" not in change


def without(record: Mapping[str, Any] | None, key: str) -> dict[str, Any]:
    return {name: value for name, value in (record or {}).items() if name != key}
