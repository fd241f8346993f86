"""Whole cross-validated runs in worlds whose truth is known: a search without each fold, and one over all rows.

The folds depend on each other, since their searches share most rows; so how often a cross-validated verdict claims a
gain that is none is measured here, and not taken from theory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

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


def simulate_folds(spread: float, rows: int, runs: int) -> dict[str, Any]:
    """Means over `runs` on so many labelled rows each: how often a winner was shipped, and how often one that is no
    better; the true gain of what was shipped (0 where the baseline was); the true gain of the procedure, and whether
    the interval held it."""
    found = [asyncio.run(run_once(spread, rows, 1000 * rows + seed)) for seed in range(runs)]
    return {key: float(np.mean([one[key] for one in found])) for key in found[0]} | {"sims": runs}


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
    shipped, gain = verdict.shipped == "winner", world.truth(winner) - world.truth(baseline)
    return {
        "shipped": shipped,
        "false": shipped and gain <= 1e-9,
        "gain": gain if shipped else 0.0,
        "procedure": sum(gains),
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
