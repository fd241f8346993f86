"""The table of recipes/README.md comes from artifacts, and the demo says why it ends early."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import demo, honesty, readme, recipes
from benchmarks.cells import RESULTS, cell, read


def scored(mean: float) -> dict[str, Any]:
    return {"score": {"mean": mean, "low": mean - 0.05, "high": mean + 0.05, "n": 90}}


def artifacts(folder: Path, *, verdict: bool) -> None:
    gain = {"mean": 0.4, "low": 0.3, "high": 0.5}
    test = {"seed": scored(0.1), "dspy": scored(0.2), "winner": scored(0.5)}
    best = {"scores": {"test": {**test, "gains": {"over_seed": gain, "over_dspy": gain}}}, "search": {"seed": 3}}
    (folder / "distilled").mkdir(parents=True)
    (folder / "best.json").write_text(json.dumps({**best, "created_at": "2026-01-02T03:04:05+00:00"}))
    if verdict:
        told = {"arms": {"student + bare prompt": scored(0.6)}, "sentence": "Distil."}
        (folder / "distilled" / "verdict.json").write_text(json.dumps(told))


def test_the_table_tells_what_the_artifacts_hold_and_what_was_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    artifacts(recipes.FOLDER / "qa", verdict=True)
    artifacts(recipes.FOLDER / "extract", verdict=True)
    artifacts(recipes.FOLDER / "math", verdict=False)
    results = tmp_path / "results"
    for name, what, make in (
        ("qa", recipes.PROMPT, recipes.optimize),
        ("qa", recipes.STUDENT, recipes.distill),
        ("extract", recipes.PROMPT, recipes.optimize),
        ("extract", recipes.STUDENT, recipes.distill),
        ("math", recipes.PROMPT, recipes.optimize),
    ):
        cell(recipes.PART, {"recipe": name, "what": what}, partial(make, name), folder=results)
    head, rule, one, labelled, two = recipes.table(results).splitlines()
    cells = ["`qa.py`", "90", "10.0 (5.0 to 15.0)", "20.0 (15.0 to 25.0)", "50.0 (45.0 to 55.0)"]
    cells += ["+40.0 (+30.0 to +50.0)"] * 2 + ["60.0 (55.0 to 65.0)", "not measured", "3", "2026-01-02"]
    assert one == "| " + " | ".join(cells) + " |"
    assert "| 60.0 (55.0 to 65.0) with `--gold` | not measured |" in labelled
    assert two.startswith("| `math.py` |") and two.count("not measured") == 2
    assert head.count("|") == rule.count("|") == one.count("|")


def test_the_table_takes_the_place_of_the_old_one_and_of_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    begin = readme.begin("python -m one")
    page.write_text(f"before\n{begin}\nold\n{readme.END}\nafter\n{readme.begin('another')}\nkept\n{readme.END}\n")
    for text in ("first", "second"):
        readme.put(page, "python -m one", text)
    kept = f"after\n{readme.begin('another')}\nkept\n{readme.END}\n"
    assert page.read_text() == f"before\n{begin}\nsecond\n{readme.END}\n{kept}"
    with pytest.raises(ValueError, match="no place for the table of: python -m none"):
        readme.put(page, "python -m none", "third")
    assert "third" not in page.read_text()


def test_the_tables_of_the_pages_are_those_of_the_cells() -> None:
    shown = [(recipes.README, recipes.COMMAND, recipes.table(RESULTS))]
    for part, in_short in readme.TABLES.items():
        records = read(part, RESULTS)
        assert records and not in_short(records[:0]), part
        shown.append((readme.README, f"python -m benchmarks {part}", in_short(records)))
    assert not honesty.in_short(read("honesty", RESULTS)[:-1]), "a part of the cells would flatter"
    for page, command, text in shown:
        assert f"{readme.begin(command)}\n{text}\n{readme.END}" in page.read_text(encoding="utf-8"), page


def test_the_demo_says_which_log_tells_why_serve_did_not_come_up(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"]) as server:
        server.wait()
    with pytest.raises(SystemExit, match=r"did not come up; .*serve\.log says why"):
        demo.wait(server, "http://127.0.0.1:9", tmp_path / "serve.log")


def test_the_demo_asks_every_variant_but_not_the_base() -> None:
    kinds = {"qa-prompt": "prompt", "qa-distilled": "distilled", "smollm2-135m": "base"}
    cards: list[dict[str, Any]] = [{"id": name, "promptstill": {"kind": kind}} for name, kind in kinds.items()]
    assert demo.variants([*cards, {"id": "other"}]) == ["qa-prompt", "qa-distilled"]
