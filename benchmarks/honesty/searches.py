"""Whole searches in worlds whose truth is known, each followed by the comparison on test.

Where no prompt is better than another, every gain that is shipped is false. The winner's dev score minus its true
accuracy is the dev optimism.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from benchmarks.honesty.groups import Sizes, names, two_to_200, zipf
from optimizer.search.playoff import SearchOutcome
from promptstill.endpoint.client import Client
from promptstill.scoring.evaluate import score_rows
from promptstill.scoring.test_report import compare_reports, summarize_results
from tests.support.world import TRAIN_FROM, World, run_search, world_row, world_task

TESTS = 5  # test splits that a search's winner is compared on, each of rows of its own
TEST_FROM = 1_000_000  # the number of test's first row
TRAIN, DEV = TRAIN_FROM, 0


@dataclass(frozen=True)
class WorldCase:
    """A world's spread of ability, in logits, and how the rows of each split are grouped."""

    spread: float
    sizes: Sizes | None = None

    def groups(self, rows: int, rng: np.random.Generator) -> dict[int, str]:
        """The group of each row, by its number; empty where rows are not grouped."""
        if self.sizes is None:
            return {}
        firsts = [TRAIN, DEV, *(TEST_FROM + rows * test for test in range(TESTS))]
        return {first + i: f"{first}-{name}" for first in firsts for i, name in enumerate(names(self.sizes(rows, rng)))}


SAME, DIFFER = "no prompt is better", "prompts differ"
CASES: Mapping[str, WorldCase] = {
    SAME: WorldCase(0.0),
    DIFFER: WorldCase(0.5),
    f"{SAME}, Zipf-sized groups": WorldCase(0.0, zipf),
    f"{DIFFER}, Zipf-sized groups": WorldCase(0.5, zipf),
    f"{SAME}, groups of 2 to 200": WorldCase(0.0, two_to_200),
}


def simulate(world: str, rows: int, searches: int) -> dict[str, Any]:
    """Means over `searches`, each with a seed and rows of its own, and the standard error of the optimism."""
    found = [asyncio.run(search_once(CASES[world], rows, 1000 * rows + seed)) for seed in range(searches)]
    means = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
    error = float(np.std([one["optimism"] for one in found], ddof=1) / math.sqrt(searches)) if searches > 1 else 0.0
    return {**means, "optimism_error": error, "sims": searches, "tests": TESTS}


async def search_once(case: WorldCase, rows: int, seed: int) -> dict[str, float]:
    """One search on `rows` dev rows and comparisons on as many test rows: how often it ships, and what was true."""
    groups = case.groups(rows, np.random.default_rng(seed))
    world, task = World(case.spread, seed, groups), world_task(rows, seed, groups)
    outcome = await run_search(task, world)
    baseline, winner = task.prompt(task.starters()[0]), task.prompt(outcome.winner.candidate)
    gain = world.truth(winner) - world.truth(baseline)
    shipped = 0.0
    for test in range(TESTS):
        examples = [world_row(TEST_FROM + rows * test + i, groups) for i in range(rows)]
        first, last = [
            summarize_results(await score_rows(one, examples, task.metric, cast(Client, world)), seed)
            for one in (baseline, winner)
        ]
        shipped += (compare_reports((first, None, last), outcome.winner.value, seed).shipped == "winner") / TESTS
    return {
        "shipped": shipped,
        "false": shipped if gain <= 1e-9 else 0.0,
        "optimism": outcome.winner.value - world.truth(winner),
        "gain": gain,
        "evaluated": share_evaluated(outcome, rows),
    }


def share_evaluated(outcome: SearchOutcome, rows: int) -> float:
    """The share of all trials' dev rows that racing let the search evaluate."""
    return sum(len(trial.scores) for trial in outcome.trials) / (len(outcome.trials) * rows)
