"""The recipes' table comes from artifacts, and says what was not measured."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import recipes
from benchmarks.cells import cell


def scored(mean: float) -> dict[str, Any]:
    return {"score": {"mean": mean, "low": mean - 0.05, "high": mean + 0.05, "n": 90}}


def write_artifacts(folder: Path, *, verdict: bool) -> None:
    gain = {"mean": 0.4, "low": 0.3, "high": 0.5}
    test = {"baseline": scored(0.1), "dspy": scored(0.2), "winner": scored(0.5)}
    best = {"scores": {"test": {**test, "gains": {"over_baseline": gain, "over_dspy": gain}}}, "search": {"seed": 3}}
    (folder / "distilled").mkdir(parents=True)
    (folder / "best.json").write_text(json.dumps({**best, "created_at": "2026-01-02T03:04:05+00:00"}))
    if verdict:
        result = {"arms": {"student + bare prompt": scored(0.6)}, "sentence": "Distil."}
        (folder / "distilled" / "verdict.json").write_text(json.dumps(result))


def test_the_table_shows_what_the_artifacts_hold_and_what_was_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_artifacts(recipes.FOLDER / "qa", verdict=True)
    write_artifacts(recipes.FOLDER / "extract", verdict=True)
    write_artifacts(recipes.FOLDER / "math", verdict=False)
    results = tmp_path / "results"
    for name, what, make in (
        ("qa", recipes.PROMPT, recipes.optimize),
        ("qa", recipes.STUDENT, recipes.distill),
        ("extract", recipes.PROMPT, recipes.optimize),
        ("extract", recipes.STUDENT, recipes.distill),
        ("math", recipes.PROMPT, recipes.optimize),
    ):
        cell(recipes.PART, {"recipe": name, "what": what}, partial(make, name), folder=results)
    head, rule, qa, extract, math = recipes.table(results).splitlines()
    cells = ["`qa.py`", "90", "10.0 (5.0 to 15.0)", "20.0 (15.0 to 25.0)", "50.0 (45.0 to 55.0)"]
    cells += ["+40.0 (+30.0 to +50.0)"] * 2 + ["60.0 (55.0 to 65.0)", "not measured", "3", "2026-01-02"]
    assert qa == "| " + " | ".join(cells) + " |"
    assert "| 60.0 (55.0 to 65.0) with `--gold` | not measured |" in extract
    assert math.startswith("| `math.py` |") and math.count("not measured") == 2
    assert head.count("|") == rule.count("|") == qa.count("|")
