"""Whole cross-validated runs in worlds whose truth is known: a search without each fold, and one over all rows.

The folds depend on each other, since their searches share most rows; so how often a cross-validated verdict claims a
gain that is none is measured here, and not taken from theory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np

from benchmarks.results import table
from optimizer.search.playoff import SearchOutcome
from optimizer.search.task import SearchTask
from promptstill.endpoint.client import Client
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.evaluate import score_rows
from promptstill.scoring.test_report import Reports, compare_reports, join_reports, summarize_results
from promptstill.task.examples import Example
from promptstill.task.folds import FOLDS
from promptstill.task.splits import deal_folds
from tests.support.world import World, run_search, world_row, world_task

KIND = "folds"
ROWS, FAST_ROWS = (12, 24, 40), (12,)
SPREADS = {"no prompt is better": (0.0, 100), "prompts differ": (0.5, 30)}  # of ability, in logits; and how many runs
FAST_RUNS = 4


def simulated(*, fast: bool) -> Iterator[tuple[dict[str, str | int], Callable[[], dict[str, Any]]]]:
    """The cells of cross-validated runs, and what measures each."""
    for name, (spread, runs) in SPREADS.items():
        for rows in FAST_ROWS if fast else ROWS:
            key: dict[str, str | int] = {"what": KIND, "case": name, "n": rows}
            yield key, partial(simulate_folds, spread, rows, FAST_RUNS if fast else runs)


def lines(cells: Sequence[dict[str, Any]]) -> list[str]:
    """The part's Markdown; nothing without cells."""
    if not cells:
        return []
    rows = []
    for one in cells:
        got, key = one["result"], one["key"]
        shares = [f"{100 * got[name]:.1f}" for name in ("shipped", "false", "covered")]
        gains = [f"{100 * got[name]:+.1f}" for name in ("gain", "procedure")]
        rows.append([str(key["case"]), str(key["n"]), str(got["sims"]), *shares, *gains, f"{got['error']:.2f}"])
    head = ["world", "labelled rows", "runs", "shipped %", "false %", "held %", "shipped gain", "true gain", "error"]
    return [
        "### Cross-validated runs on a simulated model",
        "",
        f"{FOLDS} searches without a fold each and one on all rows; each row is test once. `true gain` is of the way",
        "to search; `held` says how often the interval holds it. `shipped gain` is of the prompts that shipped, 0",
        "where none did. `error`: how many times the error of the gain is as large as the standard error of",
        "independent rows.",
        "",
        *table(head, rows),
        "",
    ]


def short_row(cells: Sequence[dict[str, Any]]) -> list[str]:
    """The line of the short table: false gains at each number of rows."""
    null = [one for one in cells if not SPREADS[one["key"]["case"]][0]]
    ns, runs = ", ".join(str(one["key"]["n"]) for one in null), sum(one["result"]["sims"] for one in null)
    false = ", ".join(f"{100 * one['result']['false']:.1f}" for one in null)
    what = f"cross-validated runs on {ns} rows, no prompt better: winners shipped, of {runs:,} runs"
    return [what, "at most 3 %", f"{false} %"]


def simulate_folds(spread: float, rows: int, runs: int) -> dict[str, Any]:
    """Means over `runs` on so many labelled rows each: how often a winner was shipped, and how often one that is no
    better; the true gain of what was shipped (0 where the baseline was); the true gain of the procedure, and whether
    the interval held it."""
    found = [asyncio.run(run_once(spread, rows, 1000 * rows + seed)) for seed in range(runs)]
    means = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
    return means | {"error": error_ratio(found), "sims": runs}


def error_ratio(found: Sequence[dict[str, float]]) -> float:
    """How many times as large the errors of the measured gains are as the standard errors of independent rows."""
    errors = np.std([one["measured"] - one["procedure"] for one in found])
    return float(errors / np.sqrt(np.mean([one["squared_error"] for one in found])))


async def run_once(spread: float, rows: int, seed: int) -> dict[str, float]:
    """One cross-validated run."""
    world, labelled = World(spread, seed), [world_row(i) for i in range(rows)]
    folds = deal_folds(labelled, FOLDS, seed)
    reports, gains, dev = [], [], []
    for fold in folds:
        task, outcome = await search_on([row for row in labelled if row not in fold], world, seed)
        baseline, winner = both_prompts(task, outcome)
        reports.append(await report_fold((baseline, winner), task, fold, world, seed))
        gains.append((world.truth(winner) - world.truth(baseline)) * len(fold) / rows)
        dev.append(outcome.winner.value)
    verdict = compare_reports(join_reports(reports, seed), float(np.mean(dev)), seed)
    task, outcome = await search_on(labelled, world, seed)
    baseline, winner = both_prompts(task, outcome)
    pairs = zip(verdict.winner.results, verdict.baseline.results, strict=True)
    differences = [one.score - other.score for one, other in pairs]
    shipped, gain = verdict.shipped == "winner", world.truth(winner) - world.truth(baseline)
    return {
        "shipped": shipped,
        "false": shipped and gain <= 1e-9,
        "gain": gain if shipped else 0.0,
        "procedure": sum(gains),
        "measured": verdict.over_baseline.mean,
        "squared_error": float(np.var(differences, ddof=1)) / rows,
        "covered": verdict.over_baseline.low <= sum(gains) <= verdict.over_baseline.high,
    }


async def search_on(rows: Sequence[Example], world: World, seed: int) -> tuple[SearchTask, SearchOutcome]:
    """A search whose dev rows are its train rows."""
    task = replace(world_task(1, seed), train=rows, dev=rows, shared=True)
    return task, await run_search(task, world)


def both_prompts(task: SearchTask, outcome: SearchOutcome) -> tuple[Prompt, Prompt]:
    return task.prompt(task.starters()[0]), task.prompt(outcome.winner.candidate)


async def report_fold(
    prompts: tuple[Prompt, Prompt], task: SearchTask, fold: Sequence[Example], world: World, seed: int
) -> Reports:
    """The reports of baseline and winner on the rows of a fold."""
    client = cast(Client, world)
    first, last = [summarize_results(await score_rows(one, fold, task.metric, client), seed) for one in prompts]
    return first, None, last
