"""What racing, TPE, and generations that fit the calls are worth: searches in worlds whose truth is known.

    python -m benchmarks [--fast] simulated

On vLLM there are few ablations, and 200 test rows show no small difference. The same search costs no model here: it
runs in a hundred worlds of each kind, with the contest's caps on calls and its number of dev rows, and the winner's
true accuracy is known.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from benchmarks.cells import FAST, RESULTS, cell
from benchmarks.contest.ours import TRIALS
from benchmarks.results import table
from optimizer.search.candidate import Candidate
from optimizer.search.race import GENERATION
from optimizer.search.racing_trial import RacingTrial
from optimizer.search.search import Search
from optimizer.search.study import Trial
from tests.support.world import ADD_UP, ALONE, TRAIN_FROM, CappedWorld, run_search, world_row, world_task

PART = "simulated"
DEV = 100
CAPS, FAST_CAPS = (125, 250, 500, 1_000, 2_000), (500,)
SEARCHES, FAST_SEARCHES = 100, 8
WORLDS: Mapping[str, str] = {
    ADD_UP: "a prompt is as able as its instruction, demos, number of demos and layout together",
    ALONE: "a prompt's parts say nothing of it",
}
WHOLE, UNFITTED = "whole", "unfitted"


class RandomSearch(Search):
    """The same starters and races; the other candidates are drawn evenly from the space."""

    def suggest(self, history: Sequence[Trial], count: int, seed: str) -> list[Candidate]:
        rng = random.Random(seed)
        choices = {name: list(values) for name, values in self.task.space.choices.items()}
        draws = [{name: rng.choice(values) for name, values in choices.items()} for _ in range(count)]
        return [Candidate.from_params(params) for params in draws]


class Eights(Search):
    """Generations of eight over all of dev, whatever the cap leaves: it cuts the last, and ends before the play-off."""

    def size(self, slot: int, left: int) -> int:
        return min(GENERATION, left)


class Unfitted(Search):
    """The first generation raced in the blocks of a whole race, whatever the cap pays for."""

    async def fitted_first_race(self, racing: Sequence[RacingTrial]) -> None:
        return None


VARIANTS: Mapping[str, tuple[type[Search], bool]] = {  # the search, and whether it races
    WHOLE: (Search, True),
    "no-race": (Search, False),
    "random": (RandomSearch, True),
    "eights": (Eights, True),
    UNFITTED: (Unfitted, True),
}


def first_race_rows() -> int:
    """The dev rows that the first race evaluates at most, where no cap cuts it."""
    task = world_task(DEV, 0)
    return task.max_rows(len(task.starters()))


def true_gain(world: str, variant: str, cap: int, seed: int) -> float:
    """How much more accurate, in truth, the winner of one search is than the baseline prompt."""
    search, race = VARIANTS[variant]
    train = [world_row(TRAIN_FROM + i) for i in range(2 * DEV)]
    task = replace(world_task(DEV, seed), train=train, trials=TRIALS, race=race)
    model = CappedWorld(world, seed, cap)
    outcome = asyncio.run(run_search(task, model, search))
    baseline, winner = task.prompt(task.starters()[0]), task.prompt(outcome.winner.candidate)
    return model.truth(winner) - model.truth(baseline)


def measure(world: str, variant: str, cap: int, searches: int) -> dict[str, list[float]]:
    """The gain of each search. All variants have the same seeds, so that gains are paired."""
    return {"gains": [round(true_gain(world, variant, cap, seed), 5) for seed in range(searches)]}


def run(fast: bool) -> None:
    searches = FAST_SEARCHES if fast else SEARCHES
    for world, variant, cap in product(WORLDS, VARIANTS, FAST_CAPS if fast else CAPS):
        if variant == UNFITTED and cap >= first_race_rows():
            continue  # there it is the whole search
        key: dict[str, str | int] = {"world": world, "search": variant, "cap": cap, "searches": searches, "seed": 0}
        cell(PART, key, partial(measure, world, variant, cap, searches), folder=FAST if fast else RESULTS)


def section(cells: list[dict[str, Any]]) -> str:
    """The part's Markdown, from stored cells alone."""
    gains = {(one["key"]["world"], one["key"]["search"], one["key"]["cap"]): one["result"]["gains"] for one in cells}
    caps = sorted({cap for _, _, cap in gains})
    searches = max(len(values) for values in gains.values())
    head = ["search", *(f"{cap:,} calls" for cap in caps), *(f"minus the whole, {cap:,}" for cap in caps)]
    lines = ["## Racing, TPE and the last generation in simulated worlds", ""]
    lines += [
        "The winner's true accuracy minus the baseline prompt's, in points, ± 1.96 standard errors: means over",
        f"{searches} searches, each in a world of its own, with {DEV} dev rows; differences are paired. `no-race`",
        "scores every trial on all of dev. `random` draws candidates without looking at earlier ones. `eights` begins",
        "generations of eight over all of dev, whatever calls are left: the last is cut, so nothing is learned from",
        "it, and no calls are left for the play-off. `unfitted` races the first generation in the blocks of a whole",
        "race, even where the calls do not pay for one.",
        "",
    ]
    for world, meaning in WORLDS.items():
        rows = []
        for name in VARIANTS:
            scores = [mean_text(gains.get((world, name, cap), ())) for cap in caps]
            differences = [mean_text(minus_whole(gains, world, name, cap)) for cap in caps]
            rows.append([name, *scores, *differences])
        lines += [f"{world[0].upper()}{world[1:]}: {meaning}.", "", *table(head, rows), ""]
    return "\n".join(lines).rstrip()


def minus_whole(gains: Mapping[tuple[str, str, int], list[float]], world: str, name: str, cap: int) -> list[float]:
    """A variant's gains minus those of the whole search; none where either is missing, or for the whole itself."""
    whole, other = gains.get((world, WHOLE, cap), []), gains.get((world, name, cap), [])
    if name == WHOLE or len(whole) != len(other):
        return []
    return [a - b for a, b in zip(other, whole, strict=True)]


def mean_text(values: Sequence[float]) -> str:
    """A mean in points, ± half of its 95 % interval; empty without values."""
    if not values:
        return ""
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return f"{100 * float(np.mean(values)):+.1f} ± {196 * error:.1f}"
