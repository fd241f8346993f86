"""Whole searches in a world whose truth is known: `optimizer.search` and `optimizer.measure` on a simulated model.

The model answers right with a chance that depends on the prompt and on the row, and the same request is always answered
alike. In the world without differences every prompt is as good as the seed, so each gain that is shipped is false. The
winner's dev score minus its true accuracy is the dev optimism.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from optuna.storages import InMemoryStorage

from optimizer.budget import Budget, Meter
from optimizer.calls import Completion
from optimizer.client import Client
from optimizer.evaluate import score_rows
from optimizer.examples import Example
from optimizer.files import canonical, digest
from optimizer.finals import Outcome, play_off
from optimizer.layouts import Task
from optimizer.measure import judge, reading
from optimizer.metrics import exact_match
from optimizer.pools import NO_DEMOS, DemoSet, Pools
from optimizer.problem import Problem
from optimizer.prompt import Layout, Prompt
from optimizer.search import Search
from optimizer.study import StoredStudy

WORLDS: Mapping[str, float] = {"no prompt is better": 0.0, "prompts differ": 0.5}  # spread of ability, in logits
HARDNESS = 1.5  # spread of the rows, in logits: some are hard for every prompt
TRIALS = 16
TRAIN_FROM = 2_000_000  # the number of train's first row; dev's is 0
ITEM = re.compile(r"item (\d+)(?!.*item \d)", re.DOTALL)


class World:
    """A client double that answers by chance; `ability` of the seed prompt and the others is drawn from the world."""

    def __init__(self, spread: float, seed: int) -> None:
        self.spread, self.seed, self.meter = spread, seed, Meter(Budget(), {})

    async def complete(self, body: Mapping[str, Any], role: str, sample: int = 0) -> Completion:
        text = canonical(body)
        asked = ITEM.search(text)
        assert asked
        row, prompt = int(asked[1]), without_row(text)
        chance = logistic(self.ability(prompt) + HARDNESS * self.normal("row", row))
        right = self.uniform(prompt, row) < chance
        return Completion(f"code {row}" if right else "wrong", "stop", len(text) // 4, 0, 2, 0.0)

    def ability(self, prompt: str) -> float:
        return self.spread * self.normal("prompt", prompt)

    def truth(self, prompt: Prompt) -> float:
        """A prompt's accuracy over all rows there could be."""
        ability = self.ability(request_text(prompt))
        grid = np.linspace(-5, 5, 201)
        weights = np.exp(-(grid**2) / 2)
        return float((weights / (1 + np.exp(-(ability + HARDNESS * grid)))).sum() / weights.sum())

    def uniform(self, *what: str | int) -> float:
        return (int(digest([self.seed, *what])[:13], 16) + 0.5) / 16**13

    def normal(self, *what: str | int) -> float:
        return math.sqrt(-2 * math.log(self.uniform(*what))) * math.cos(2 * math.pi * self.uniform("angle", *what))


def request_text(prompt: Prompt) -> str:
    """What a prompt asks, whatever the row: `World.ability` knows it by this."""
    return without_row(canonical(prompt.request({"item": "item 0"})))


def without_row(text: str) -> str:
    return ITEM.sub("item", text)


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def row(i: int) -> Example:
    inputs, outputs = {"item": f"item {i}"}, {"code": f"code {i}"}
    return Example(str(i), f"row {i}", inputs, outputs, {**inputs, **outputs}, str(i))


def problem(rows: int, seed: int) -> Problem:
    """What the search works on: labelled demo sets, and nearest ones over a pool of one, so that no prompt's text
    depends on the row."""
    import dspy

    task = Task(dspy.Signature("item -> code", "Say the code of the item."), "simulated", 8)
    demos = [{"item": f"thing {i}", "code": f"code {i}"} for i in range(8)]
    sets = {NO_DEMOS: DemoSet(), **{f"labeled-{i}": DemoSet(tuple(demos[i:] + demos[:i])) for i in range(8)}}
    sets["nearest"] = DemoSet(nearest=("item",))
    instructions = ("Say the code of the item.", *(f"Say the code of the item, way {i}." for i in range(1, 5)))
    layouts: tuple[Layout, ...] = ("chat", "inline", "raw")  # those that read a bare reply
    pools = Pools(instructions, sets, (demos[0],), (1, 2, 4, 8), 1, layouts, structured=False)
    train, dev = ([row(first + i) for i in range(rows)] for first in (TRAIN_FROM, 0))
    return Problem(task, pools, train, dev, exact_match("code"), seed, TRIALS)


async def searched(
    work: Problem, world: World, kind: type[Search] = Search, study: StoredStudy | None = None
) -> Outcome:
    """The outcome of a search in the world, play-off included; a `study` goes on where it stopped."""
    client = cast(Client, world)  # the search asks nothing else of a client
    study = study or StoredStudy(InMemoryStorage(), "simulated")
    found = await kind(work, client, study, lambda problem, progress: None).run()
    return await play_off(work, found, client, lambda entrants, rows: None)


async def once(spread: float, rows: int, seed: int) -> dict[str, float]:
    """One search on `rows` dev rows and the reading of as many test rows; what was shipped, and what was true."""
    world, work = World(spread, seed), problem(rows, seed)
    outcome = await searched(work, world)
    bare, best = work.prompt(work.starters()[0]), work.prompt(outcome.winner.params)
    test = [row(1_000_000 + i) for i in range(rows)]
    readings = [reading(await score_rows(one, test, work.metric, cast(Client, world)), seed) for one in (bare, best)]
    verdict = judge((readings[0], readings[0], readings[1]), outcome.winner.value, seed)
    gained = world.truth(best) - world.truth(bare)
    return {
        "shipped": verdict.shipped == "winner",
        "false": verdict.shipped == "winner" and gained <= 1e-9,
        "optimism": outcome.winner.value - world.truth(best),
        "gained": gained,
        "bought": bought(outcome, rows),
    }


def bought(outcome: Outcome, rows: int) -> float:
    """The share of all dev rows that racing let the search buy."""
    return sum(len(trial.scores) for trial in outcome.trials) / (len(outcome.trials) * rows)


def simulate(world: str, rows: int, sims: int) -> dict[str, Any]:
    """Means over `sims` searches, each with a seed and rows of its own, and the standard error of the optimism."""
    found = [asyncio.run(once(WORLDS[world], rows, 1000 * rows + seed)) for seed in range(sims)]
    means = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
    error = float(np.std([one["optimism"] for one in found], ddof=1) / math.sqrt(sims)) if sims > 1 else 0.0
    return {**means, "optimism_error": error, "sims": sims}
