"""Whole searches in worlds whose truth is known, each followed by the comparison on test.

Where no prompt is better than another, every gain that is shipped is false. The winner's dev score minus its true
accuracy is the dev optimism.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from optimizer.search.playoff import SearchOutcome
from promptstill.endpoint.client import Client
from promptstill.scoring.evaluate import score_rows
from promptstill.scoring.test_report import compare_reports, summarize_results
from tests.support.world import World, run_search, world_row, world_task

SPREADS: Mapping[str, float] = {"no prompt is better": 0.0, "prompts differ": 0.5}  # of ability, in logits
TEST_FROM = 1_000_000  # the number of test's first row


def simulate(world: str, rows: int, searches: int) -> dict[str, Any]:
    """Means over `searches`, each with a seed and rows of its own, and the standard error of the optimism."""
    found = [asyncio.run(search_once(SPREADS[world], rows, 1000 * rows + seed)) for seed in range(searches)]
    means = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
    error = float(np.std([one["optimism"] for one in found], ddof=1) / math.sqrt(searches)) if searches > 1 else 0.0
    return {**means, "optimism_error": error, "sims": searches}


async def search_once(spread: float, rows: int, seed: int) -> dict[str, float]:
    """One search on `rows` dev rows and the comparison on as many test rows: what was shipped, and what was true."""
    world, task = World(spread, seed), world_task(rows, seed)
    outcome = await run_search(task, world)
    baseline, winner = task.prompt(task.starters()[0]), task.prompt(outcome.winner.candidate)
    test, client = [world_row(TEST_FROM + i) for i in range(rows)], cast(Client, world)
    first, last = [
        summarize_results(await score_rows(one, test, task.metric, client), seed) for one in (baseline, winner)
    ]
    verdict = compare_reports((first, first, last), outcome.winner.value, seed)
    gain = world.truth(winner) - world.truth(baseline)
    return {
        "shipped": verdict.shipped == "winner",
        "false": verdict.shipped == "winner" and gain <= 1e-9,
        "optimism": outcome.winner.value - world.truth(winner),
        "gain": gain,
        "evaluated": share_evaluated(outcome, rows),
    }


def share_evaluated(outcome: SearchOutcome, rows: int) -> float:
    """The share of all trials' dev rows that racing let the search evaluate."""
    return sum(len(trial.scores) for trial in outcome.trials) / (len(outcome.trials) * rows)
