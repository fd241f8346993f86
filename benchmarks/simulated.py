"""What racing, TPE, and generations that fit the calls are worth: searches in worlds whose truth is known.

    python -m benchmarks [--fast] simulated

The ablations on vLLM are few, and 200 test rows tell no small difference. Here the same search, which costs no model,
runs in a hundred worlds of each kind under the contest's caps on calls, with dev of its size, and the winner's true
accuracy is known.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np

from benchmarks.cells import FAST, RESULTS, cell
from benchmarks.contestant_ours import TRIALS
from benchmarks.results import table
from benchmarks.search_variants import RandomSearch
from benchmarks.searches import TRAIN_FROM, World, problem, request_text, row, searched
from optimizer.budget import Budget, Meter
from optimizer.calls import Completion, Total
from optimizer.files import canonical
from optimizer.search import GENERATION, Search

PART = "simulated"
DEV = 100
SPREAD = 0.5  # of the prompts' abilities, in logits
CAPS, FAST_CAPS = (125, 250, 500, 1_000, 2_000), (500,)
SEARCHES, FAST_SEARCHES = 100, 8
ADD_UP, ALONE = "choices add up", "each prompt for itself"
WORLDS: Mapping[str, str] = {
    ADD_UP: "a prompt is as able as its instruction, demos, number of demos and layout together",
    ALONE: "a prompt's parts say nothing of it",
}
WHOLE, UNFITTED = "whole", "unfitted"


class Eights(Search):
    """Generations of eight, whatever the cap leaves: it cuts the last, and ends before the play-off."""

    def size(self, slot: int, count: int) -> int:
        return min(GENERATION, count)


class Unfitted(Search):
    """The first generation raced in the blocks of a whole race, whatever the cap pays for."""

    def few_calls(self, count: int) -> int | None:
        return None


VARIANTS: Mapping[str, tuple[type[Search], bool]] = {  # the search, and whether it races
    WHOLE: (Search, True),
    "no-race": (Search, False),
    "random": (RandomSearch, True),
    "eights": (Eights, True),
    UNFITTED: (Unfitted, True),
}


class Capped(World):
    """A world that answers `cap` different requests; a repeated one costs nothing, as with the store of calls."""

    def __init__(self, world: str, seed: int, cap: int) -> None:
        super().__init__(SPREAD, seed)
        self.parts = catalog() if world == ADD_UP else {}
        self.meter, self.known = Meter(Budget(calls=cap), {}), dict[str, Completion]()

    async def complete(self, body: Mapping[str, Any], role: str, sample: int = 0) -> Completion:
        text = canonical(body)
        if text not in self.known:
            self.meter.reserve()
            self.known[text] = await super().complete(body, role, sample)
            self.meter.release()
            self.meter.pay(role, Total(1))
        return self.known[text]

    def ability(self, prompt: str) -> float:
        parts = self.parts.get(prompt, (prompt,))
        return self.spread * sum(self.normal("part", part) for part in parts) / math.sqrt(len(parts))


@cache
def catalog() -> dict[str, tuple[str, ...]]:
    """The choices of every prompt there is, by its request's text; they are the same in all worlds."""
    work, found = problem(1, 0), dict[str, tuple[str, ...]]()
    for chosen in product(*work.space.values()):
        params = dict(zip(work.space, chosen, strict=True))
        found.setdefault(request_text(work.prompt(params)), tuple(f"{name} {value}" for name, value in params.items()))
    return found


def first_race() -> int:
    """The calls that the first race takes at most."""
    work = problem(DEV, 0)
    return work.rows_of(len(work.starters()))


def gained(world: str, variant: str, cap: int, seed: int) -> float:
    """How much more accurate, in truth, the winner of one search is than the seed prompt."""
    kind, race = VARIANTS[variant]
    train = [row(TRAIN_FROM + i) for i in range(2 * DEV)]
    work, model = replace(problem(DEV, seed), train=train, trials=TRIALS, race=race), Capped(world, seed, cap)
    outcome = asyncio.run(searched(work, model, kind))
    bare, best = work.prompt(work.starters()[0]), work.prompt(outcome.winner.params)
    return model.truth(best) - model.truth(bare)


def measure(world: str, variant: str, cap: int, searches: int) -> dict[str, list[float]]:
    """The gain of each search; the same seeds in all variants, so that gains are paired."""
    return {"gained": [round(gained(world, variant, cap, seed), 5) for seed in range(searches)]}


def run(fast: bool) -> None:
    searches = FAST_SEARCHES if fast else SEARCHES
    for world, variant, cap in product(WORLDS, VARIANTS, FAST_CAPS if fast else CAPS):
        if variant == UNFITTED and cap >= first_race():
            continue  # there it is the whole search
        key: dict[str, str | int] = {"world": world, "search": variant, "cap": cap, "searches": searches, "seed": 0}
        cell(PART, key, partial(measure, world, variant, cap, searches), folder=FAST if fast else RESULTS)


def section(cells: list[dict[str, Any]]) -> str:
    """The part's Markdown, from stored cells alone."""
    got = {(one["key"]["world"], one["key"]["search"], one["key"]["cap"]): one["result"]["gained"] for one in cells}
    caps = sorted({cap for _, _, cap in got})
    searches = max(len(gains) for gains in got.values())
    head = ["search", *(f"{cap:,} calls" for cap in caps), *(f"minus the whole, {cap:,}" for cap in caps)]
    lines = ["## Racing, TPE and the last generation in simulated worlds", ""]
    lines += [
        "The winner's true accuracy over the seed prompt's, in points, ± 1.96 standard errors: means over"
        f" {searches} searches,",
        f"each in a world of its own, with {DEV} dev rows; differences are paired. `no-race` scores every trial on all"
        " of dev, `random`",
        "draws candidates without looking at earlier ones, `eights` begins generations of eight whatever is left: the",
        "last is cut, of which nothing is learned, and there is no call for the play-off. `unfitted` races the first in"
        " the blocks",
        "of a whole race, also where the calls end within it.",
        "",
    ]
    for world, meaning in WORLDS.items():
        rows = []
        for name in VARIANTS:
            scores = [told(got.get((world, name, cap), ())) for cap in caps]
            behind = [told(paired(got, world, name, cap)) for cap in caps]
            rows.append([name, *scores, *behind])
        lines += [f"{world[0].upper()}{world[1:]}: {meaning}.", "", *table(head, rows), ""]
    return "\n".join(lines).rstrip()


def paired(got: Mapping[tuple[str, str, int], list[float]], world: str, name: str, cap: int) -> list[float]:
    """A variant's gains minus those of the whole search; none where either is missing, or for the whole itself."""
    whole, other = got.get((world, WHOLE, cap), []), got.get((world, name, cap), [])
    if name == WHOLE or len(whole) != len(other):
        return []
    return [a - b for a, b in zip(other, whole, strict=True)]


def told(values: Sequence[float]) -> str:
    """A mean in points with its 95 % interval's half; empty of nothing."""
    if not values:
        return ""
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return f"{100 * float(np.mean(values)):+.1f} ± {196 * error:.1f}"
