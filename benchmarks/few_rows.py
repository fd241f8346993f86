"""What a search is worth with few labels: how often a run ships its winner, and what that gains on rows left aside.

    python -m benchmarks few

Each run has 40 rows of `tickets.py` (four a label) or 24 of `qa.py`, drawn by its seed, and is measured on 200 other
rows. The runs are cross-validated, or deal the rows once (`--folds 0`). With BENCH_BEFORE, the folder of a checkout of
an earlier version, that version searches on the same rows too; its cells name its commit.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import FAST, RESULTS, cell
from benchmarks.endpoint import BenchEndpoint, open_endpoint, say, score_uncached
from benchmarks.readme import ROOT
from benchmarks.results import table
from promptstill.endpoint.endpoint import Endpoint
from promptstill.files import write_jsonl
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.evaluate import mean_score
from promptstill.task.examples import Example
from promptstill.task.open import OpenTask, open_task

PART = "few"
TASKS = {"tickets": 40, "qa": 24}  # recipe, and the rows of a run
ASIDE = 200  # rows that no run has
SEEDS, FAST_SEEDS = range(5), range(1)
WAYS = {"cross-validated": (), "one deal": ("--folds", "0")}
BEFORE = "BENCH_BEFORE"


def run(fast: bool) -> None:
    folder = FAST if fast else RESULTS
    with open_endpoint() as endpoint:
        for name, rows in TASKS.items():
            opened, scores = open_task(str(ROOT / "recipes" / f"{name}.py")), dict[str, float]()
            for seed in FAST_SEEDS if fast else SEEDS:
                for way, options in ways(fast):
                    key: dict[str, str | int] = {"recipe": name, "rows": rows, "way": way, "seed": seed}
                    cell(PART, key, partial(measure, opened, key, options, endpoint, scores), folder=folder)
                    say(f"{name}, {rows} rows, {way}, seed {seed}")


def ways(fast: bool) -> list[tuple[str, Sequence[str]]]:
    """The ways to search, and their options; an earlier version is named by its commit."""
    before = os.environ.get(BEFORE)
    return [*WAYS.items(), *([(f"version {commit(before)}", ())] if before and not fast else [])]


def commit(folder: str | Path) -> str:
    """The short name of the commit that a folder has checked out."""
    named = subprocess.run(
        ["git", "-C", folder, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    return named.stdout.strip()


def measure(
    opened: OpenTask,
    key: dict[str, str | int],
    options: Sequence[str],
    endpoint: BenchEndpoint,
    scores: dict[str, float],
) -> dict[str, Any]:
    """One run, and the true gain of what it shipped. scores: of prompts that were scored on the rows left aside."""
    few, aside = draw(opened, int(key["rows"]), int(key["seed"]))
    code = os.environ[BEFORE] if str(key["way"]).startswith("version") else str(ROOT)
    with tempfile.TemporaryDirectory(prefix="few-rows-") as name:
        folder = Path(name)
        made = search(code, str(key["recipe"]), few, endpoint, folder, options)
        (run_dir,) = (folder / "runs").iterdir()
        prompts = json.loads((run_dir / "prompts.json").read_text(encoding="utf-8"))
        baseline, shipped = Prompt.model_validate(prompts["baseline"]), Prompt.load(folder / "best.json")
    for prompt in (baseline, shipped):
        if prompt.id not in scores:
            asked = score_uncached(prompt, aside, opened.recipe.metric, Endpoint(endpoint.url, "bench"))
            scores[prompt.id] = mean_score(asyncio.run(asked))
    gain = scores[shipped.id] - scores[baseline.id]
    won = made["shipped"] == "winner"
    test = made["scores"]["test"]
    calls = made["search"]["spent"]["total"]["calls"]
    return {
        "shipped": won,
        "gain": gain,
        "seen": test["gains"]["over_baseline"]["mean"],
        "calls": calls,
        "commit": commit(code),
    }


def draw(opened: OpenTask, count: int, seed: int) -> tuple[list[Example], list[Example]]:
    """A run's rows, as many of each label as of the others where there are labels, and the rows left aside."""
    splits = opened.splits
    rows = [*splits.train, *splits.dev, *splits.test]
    random.Random("aside").shuffle(rows)
    aside, pool = rows[:ASIDE], rows[ASIDE:]
    random.Random(seed).shuffle(pool)
    by_label: dict[str, list[Example]] = {}
    for row in pool:
        by_label.setdefault(json.dumps(dict(row.outputs)), []).append(row)
    if len(by_label) > count:
        return pool[:count], aside
    return [row for label in sorted(by_label) for row in by_label[label][: count // len(by_label)]], aside


def search(
    code: str, recipe: str, rows: Sequence[Example], endpoint: BenchEndpoint, folder: Path, options: Sequence[str]
) -> dict[str, Any]:
    """best.json of a run of the code in a folder, on these rows."""
    data, best = folder / "few.jsonl", folder / "best.json"
    write_jsonl(data, [{name: value for name, value in row.row.items() if name != "split"} for row in rows])
    command = [sys.executable, "-m", "optimizer", f"recipes/{recipe}.py", "-p", f"data={data}", "--no-dspy", *options]
    command += ["--base-url", endpoint.url, "--model", endpoint.model, "--runs", str(folder / "runs"), "-o", str(best)]
    environment = {**os.environ, "PYTHONPATH": code, "OPENAI_API_KEY": "none"}
    subprocess.run(command, cwd=code, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return dict(json.loads(best.read_text(encoding="utf-8")))


def section(records: list[dict[str, Any]]) -> str:
    """The part's Markdown, from stored cells alone."""
    found: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for one in records:
        found.setdefault((one["key"]["recipe"], one["key"]["rows"], one["key"]["way"]), []).append(one["result"])
    lines = [
        "## Few labels",
        "",
        "How often a run on few rows ships its winner, and the mean true gain of what was shipped (0 for the baseline)",
        f"in points, on {ASIDE} rows that no run has.",
        "",
    ]
    head = ["recipe, rows", "way", "runs", "shipped", "mean true gain", "lowest", "mean calls"]
    rows = [[f"`{name}.py`, {count}", way, *figures(results)] for (name, count, way), results in found.items()]
    return "\n".join([*lines, *table(head, rows)])


def figures(results: Sequence[dict[str, Any]]) -> list[str]:
    gains = [100 * one["gain"] for one in results]
    shipped, calls = sum(one["shipped"] for one in results), np.mean([one["calls"] for one in results])
    return [str(len(results)), str(shipped), f"{np.mean(gains):+.1f}", f"{min(gains):+.1f}", f"{calls:,.0f}"]
