"""Choices that need no model: the recipe's own instructions, labelled rows, and the rows nearest to an input."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from statistics import mean

from optimizer.search.candidate import FIELD, LONG, MODEL, OFF, SHORT, Reasoning
from optimizer.search.sources.demo_room import DemoRoom
from optimizer.search.sources.source import BEFORE_FIRST_RACE, SourceContext
from optimizer.search.space import (
    BYTES_PER_TOKEN,
    FEW_DEMOS,
    NO_DEMOS,
    OWN_DEMOS,
    Addition,
    DemoSet,
    Space,
    demo_bytes,
    to_demo,
)
from optimizer.search.study import Trial
from promptstill.dialect import VLLM, Dialect
from promptstill.endpoint.client import Client
from promptstill.files import canonical_json
from promptstill.prompt.layouts import Layout
from promptstill.prompt.layouts.parts import Demo
from promptstill.prompt.layouts.task import Task
from promptstill.task.examples import Example

LABELED_SETS = 8
POOL_ROWS = 1_000
POOL_BYTES = 512 * 1024
KS = (1, 2, 3, 4, 8, 16, 32, 64, 128)


class GivenSource:
    """Asked before the first race."""

    def __init__(self, context: SourceContext) -> None:
        self.context = context

    def count(self, number: int, earlier: Sequence[Addition] | None = None) -> int:
        return int(number == BEFORE_FIRST_RACE)

    def describe(self, count: int) -> str:
        return "the recipe's instructions, labelled demos"

    def max_calls(self, count: int) -> int:
        return 0

    async def propose(self, space: Space, history: Sequence[Trial], count: int, client: Client) -> Addition:
        task, train = self.context.task, self.context.train
        labeled = labeled_sets(train, max(space.sizes), self.context.seed)
        sets = {NO_DEMOS: DemoSet(), **labeled, **nearest_sets(task), **own_set(task)}
        if self.context.only == "instructions":
            sets = own_set(task) or {NO_DEMOS: DemoSet()}
        own = () if self.context.only == "demos" else self.context.instructions
        return Addition((task.signature.instructions, *own), sets)


def empty_space(
    train: Sequence[Example],
    room: DemoRoom,
    layouts: tuple[Layout, ...],
    structured: bool,
    dialect: Dialect = VLLM,
    reasonings: tuple[Reasoning, ...] = (OFF,),
    labels: int = 0,
) -> Space:
    """The space before any source was asked: the pool, and the numbers of demos that there is room for.

    layouts, structured, dialect: what the endpoint can do. reasonings: see `reasoning_choices`. labels: of the first
    output.
    """
    return Space(
        pool=demo_pool(train),
        sizes=demo_sizes(train, room.fixed, room.most, labels),
        demo_tokens=room.fixed,
        most_nearest=demo_sizes(train, room.nearest, room.most, labels)[-1],
        layouts=layouts,
        structured=structured,
        dialect=dialect,
        reasonings=reasonings,
    )


def reasoning_choices(task: Task, thinking: Collection[str] = ()) -> tuple[Reasoning, ...]:
    """How a candidate may reason: as a model that thinks does by itself or can be told to (`thinking`), else not at all
    or in a field of ours. A `dspy.ChainOfThought` has that field whatever the model does."""
    thinks = task.dialect.thinking_tokens > 0
    has_field = task.can_reason and (not thinks or (task.own is not None and task.own.reasons))
    ways = [way for way in (OFF, SHORT, LONG) if way in thinking]
    return (MODEL if thinks else OFF, *ways, *((FIELD,) if has_field else ()))


def demo_sizes(train: Sequence[Example], tokens: float, most: int, labels: int = 0) -> tuple[int, ...]:
    """The numbers of demos to try, up to `most`, that train can fill and that stay within so many tokens; of many
    labels also one demo of each."""
    size = mean(demo_bytes(to_demo(example)) for example in train if example.outputs) / BYTES_PER_TOKEN
    wanted = sorted({*(k for k in KS if k <= most), *([labels] if FEW_DEMOS < labels <= KS[-1] else [])})
    fitting = tuple(k for k in wanted if k <= len(train) and k * size <= tokens)
    return fitting or (1,)


def own_set(task: Task) -> dict[str, DemoSet]:
    """What the predictor that stood where the signature does shows of itself; nothing where that is no demo."""
    own = task.own
    return {OWN_DEMOS: DemoSet(own.demos)} if own and own.demos else {}


def nearest_sets(task: Task) -> dict[str, DemoSet]:
    """Nearest by all inputs together, and by each one alone where there are several. A predictor of a program has
    none: `dspy.Predict` shows each input the same demos.
    """
    if task.in_program:
        return {}
    names = tuple(field.name for field in task.inputs)
    sets = {"nearest": DemoSet(nearest=names)}
    if len(names) > 1:
        sets |= {f"nearest-{name}": DemoSet(nearest=(name,)) for name in names}
    return sets


def labeled_sets(train: Sequence[Example], most: int, seed: int) -> dict[str, DemoSet]:
    """Random sets of labelled rows, each spread evenly over the outputs."""
    return {f"labeled-{i}": DemoSet(spread(train, most, f"{seed}-{i}")) for i in range(LABELED_SETS)}


def spread(examples: Sequence[Example], most: int, seed: str) -> tuple[Demo, ...]:
    """Up to `most` demos in random order, taking the outputs in turn so that no label crowds out another."""
    rng = random.Random(seed)
    by_output: dict[str, list[Example]] = {}
    labelled = [example for example in examples if example.outputs]
    for example in rng.sample(labelled, len(labelled)):
        by_output.setdefault(canonical_json(example.outputs), []).append(example)
    picked: list[Example] = []
    while by_output and len(picked) < most:
        for key in rng.sample(sorted(by_output), len(by_output)):
            picked.append(by_output[key].pop())
            if not by_output[key]:
                del by_output[key]
    return tuple(to_demo(example) for example in picked[:most])


def demo_pool(train: Sequence[Example]) -> tuple[Demo, ...]:
    """The rows that nearest demos are picked from, bounded in number and size since best.json carries them."""
    pool, size = [], 0
    for example in [one for one in train if one.outputs][:POOL_ROWS]:
        demo = to_demo(example)
        size += len(canonical_json(demo))
        if size > POOL_BYTES:
            break
        pool.append(demo)
    return tuple(pool)
