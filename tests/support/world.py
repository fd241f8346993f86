"""A simulated model whose truth is known, and a task that `optimizer.search` can search with it.

The model answers right with a chance that depends on the prompt and on the row, and answers the same request always
alike. No engine is needed, so a whole search takes about a second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import Any, cast

import dspy
import numpy as np
from optuna.storages import InMemoryStorage

from optimizer.search.candidate import Candidate
from optimizer.search.playoff import SearchOutcome, play_off
from optimizer.search.search import Search
from optimizer.search.space import NO_DEMOS, DemoSet, Space
from optimizer.search.study import StoredStudy
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import Allowance, Limits
from promptstill.endpoint.client import Client
from promptstill.endpoint.store import Completion, Total
from promptstill.files import canonical_json, digest
from promptstill.prompt.layouts import Layout
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt
from promptstill.task.examples import Example
from promptstill.task.metrics import exact_match

SHARED = 1.0  # spread of what a prompt is worth in a group of rows, in logits, where rows are grouped
HARDNESS = 1.5  # spread of the rows, in logits: some are hard for every prompt
SPREAD = 0.5  # spread of the prompts' abilities in a capped world, in logits
TRIALS = 16
TRAIN_FROM = 2_000_000  # the number of train's first row; dev's is 0
ADD_UP, ALONE = "choices add up", "each prompt for itself"  # the two kinds of capped worlds
ITEM = re.compile(r"item (\d+)(?!.*item \d)", re.DOTALL)


class World:
    """A client double that answers by chance. Each prompt's `ability` is drawn with the world's spread and seed.

    groups: by the row's number, where rows are grouped; then each prompt is better in some groups than in others.
    """

    draws = 1

    def __init__(self, spread: float, seed: int, groups: Mapping[int, str] | None = None) -> None:
        self.spread, self.seed, self.allowance, self.groups = spread, seed, Allowance(), groups or {}

    def share(self, calls: int) -> World:
        return self

    async def complete(self, body: Mapping[str, Any], role: str, sample: int = 0) -> Completion:
        text = canonical_json(body)
        item = ITEM.search(text)
        assert item
        row, prompt = int(item[1]), without_row(text)
        shared = SHARED * self.normal("group", prompt, self.groups[row]) if row in self.groups else 0.0
        chance = logistic(self.ability(prompt) + shared + HARDNESS * self.normal("row", row))
        right = self.uniform(prompt, row) < chance
        return Completion(f"code {row}" if right else "wrong", "stop", len(text) // 4, 0, 2, 0.0)

    def ability(self, prompt: str) -> float:
        return self.spread * self.normal("prompt", prompt)

    def truth(self, prompt: Prompt) -> float:
        """A prompt's accuracy over all rows there could be."""
        ability = self.ability(request_text(prompt))
        grid = np.linspace(-5, 5, 201)
        weights, spread = np.exp(-(grid**2) / 2), math.hypot(HARDNESS, SHARED if self.groups else 0.0)
        return float((weights / (1 + np.exp(-(ability + spread * grid)))).sum() / weights.sum())

    def uniform(self, *what: str | int) -> float:
        return (int(digest([self.seed, *what])[:13], 16) + 0.5) / 16**13

    def normal(self, *what: str | int) -> float:
        return math.sqrt(-2 * math.log(self.uniform(*what))) * math.cos(2 * math.pi * self.uniform("angle", *what))


class CappedWorld(World):
    """A world that answers `cap` different requests; a repeated one costs nothing, as with the store of calls."""

    def __init__(self, kind: str, seed: int, cap: int) -> None:
        super().__init__(SPREAD, seed)
        self.parts = prompt_parts() if kind == ADD_UP else {}
        self.allowance, self.known = Allowance(Limits(calls=cap)), dict[str, Completion]()

    async def complete(self, body: Mapping[str, Any], role: str, sample: int = 0) -> Completion:
        text = canonical_json(body)
        if text not in self.known:
            self.allowance.reserve()
            completion = self.known[text] = await super().complete(body, role, sample)
            self.allowance.release()
            self.allowance.pay(role, Total(1, completion.prompt_tokens, completion.completion_tokens))
        return self.known[text]

    def ability(self, prompt: str) -> float:
        parts = self.parts.get(prompt, (prompt,))
        return self.spread * sum(self.normal("part", part) for part in parts) / math.sqrt(len(parts))


class Dying(CappedWorld):
    """A world that fails once it has answered so many requests."""

    fails_at = 0

    async def complete(self, body: Mapping[str, Any], role: str, sample: int = 0) -> Completion:
        if len(self.known) == self.fails_at:
            raise ConnectionError
        return await super().complete(body, role, sample)


@cache
def prompt_parts() -> dict[str, tuple[str, ...]]:
    """The choices of every prompt there is, by its request's text; they are the same in all worlds."""
    task, found = world_task(1, 0), dict[str, tuple[str, ...]]()
    for chosen in product(*task.space.choices.values()):
        params = dict(zip(task.space.choices, chosen, strict=True))
        prompt = task.prompt(Candidate.from_params(params))
        parts = tuple(f"{name} {value}" for name, value in params.items() if name != "reasoning")  # it has one value
        found.setdefault(request_text(prompt), parts)
    return found


def request_text(prompt: Prompt) -> str:
    """What a prompt asks, whatever the row: `World.ability` knows it by this."""
    return without_row(canonical_json(prompt.request({"item": "item 0"})))


def without_row(text: str) -> str:
    return ITEM.sub("item", text)


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def world_row(number: int, groups: Mapping[int, str] | None = None) -> Example:
    inputs, outputs = {"item": f"item {number}"}, {"code": f"code {number}"}
    group = (groups or {}).get(number, str(number))
    return Example(str(number), f"row {number}", inputs, outputs, {**inputs, **outputs}, group)


def world_task(rows: int, seed: int, groups: Mapping[int, str] | None = None) -> SearchTask:
    """What the search works on: labelled demo sets, and nearest ones over a pool of one, so that no prompt's text
    depends on the row. groups: as for `World`."""
    task = Task(dspy.Signature("item -> code", "Say the code of the item."), "simulated", 8)
    demos = [{"item": f"thing {i}", "code": f"code {i}"} for i in range(8)]
    sets = {NO_DEMOS: DemoSet(), **{f"labeled-{i}": DemoSet(tuple(demos[i:] + demos[:i])) for i in range(8)}}
    sets["nearest"] = DemoSet(nearest=("item",))
    instructions = ("Say the code of the item.", *(f"Say the code of the item, way {i}." for i in range(1, 5)))
    layouts: tuple[Layout, ...] = ("chat", "inline", "raw")  # those that read a bare reply
    space = Space((demos[0],), (1, 2, 4, 8), 1, layouts, structured=False, instructions=instructions, demo_sets=sets)
    train, dev = ([world_row(first + i, groups) for i in range(rows)] for first in (TRAIN_FROM, 0))
    return SearchTask(task, space, train, dev, exact_match("code"), seed, TRIALS)


async def run_search(
    task: SearchTask, world: World, search: type[Search] = Search, study: StoredStudy | None = None
) -> SearchOutcome:
    """The outcome of a search in the world, play-off included; a `study` goes on where it stopped."""
    client = cast(Client, world)  # the search asks nothing else of a client
    study = study or StoredStudy(InMemoryStorage(), "simulated")
    outcome = await search(task, client, study, lambda task, progress: None).run()
    return await play_off(task, outcome, client, lambda entrants, rows: None)
