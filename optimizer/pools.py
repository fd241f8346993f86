"""What the search chooses from: instructions and demo sets, built first and frozen into pools.json.

A trial is then a tuple of names. Demos come from train alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from optimizer.client import Client
from optimizer.evaluate import Scored, score_rows
from optimizer.examples import Example
from optimizer.fields import as_text
from optimizer.files import canonical
from optimizer.layouts import REASONING, Demo, NearestDemos, Task, build
from optimizer.metrics import Metric
from optimizer.prompt import Layout

NO_DEMOS, NONE_REASONED, REASONED = "none", "none-reasoned", "reasoned"
LABELED_SETS = 8
BOOTSTRAPPED_SETS = 4
BOOTSTRAPPED = tuple(f"bootstrapped-{i}" for i in range(BOOTSTRAPPED_SETS))
BOOTSTRAP_ROWS = 48
REASONED_ROWS = 16  # fewer, since a reasoned reply costs ten plain ones
BOOTSTRAP_DEMOS = 4
POOL_ROWS = 1_000
POOL_BYTES = 512 * 1024
KS = (1, 2, 3, 4, 8, 16)
FIXED_TOKENS = 1536  # the prefix cache makes them cheap, but not free
NEAREST_TOKENS = 512  # they differ from input to input, so the engine's prefix cache does not help
BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class DemoSet:
    """Demos to take the first k of, or, with `nearest`, the fields by which k are picked from the pool."""

    demos: tuple[Demo, ...] = ()
    nearest: tuple[str, ...] = ()
    reasoning: bool = False


@dataclass(frozen=True)
class Pools:
    """The frozen choices. `pool` serves every nearest set; `sizes` are the numbers of demos to try, of which nearest
    sets take up to `most_nearest`.

    `layouts` and `structured` are what the endpoint could do when the choices were made.
    """

    instructions: tuple[str, ...]
    demo_sets: dict[str, DemoSet]
    pool: tuple[Demo, ...]
    sizes: tuple[int, ...]
    most_nearest: int
    layouts: tuple[Layout, ...]
    structured: bool
    refused: tuple[str, ...] = ()

    def demos(self, name: str) -> tuple[Demo, ...] | NearestDemos:
        """The demos of a set, as a layout takes them."""
        chosen = self.demo_sets[name]
        return NearestDemos(chosen.nearest, self.pool) if chosen.nearest else chosen.demos

    def size(self, name: str, k: int) -> int:
        """The number of demos that `k` means for a set."""
        return min(k, self.most_nearest) if self.demo_sets[name].nearest else k

    @property
    def space(self) -> dict[str, Sequence[str | int]]:
        """What a trial chooses from, by the name of the choice."""
        return {
            "layout": self.layouts,
            "demos": list(self.demo_sets),
            "k": self.sizes,
            "instruction": range(len(self.instructions)),
        }

    @property
    def storable(self) -> dict[str, Sequence[str | int]]:
        """`space`, with the names of the sets that may be bootstrapped yet: the same before and after."""
        return {**self.space, "demos": sorted({*self.demo_sets, *BOOTSTRAPPED, REASONED, NONE_REASONED})}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Pools:
        sets = {
            name: DemoSet(tuple(one["demos"]), tuple(one["nearest"]), one["reasoning"])
            for name, one in value["demo_sets"].items()
        }
        pool, sizes = tuple(value["pool"]), tuple(value["sizes"])
        layouts, refused = tuple(value["layouts"]), tuple(value["refused"])
        instructions, can = tuple(value["instructions"]), (value["most_nearest"], layouts, value["structured"])
        return cls(instructions, sets, pool, sizes, *can, refused)


def to_demo(example: Example, reasoning: str | None = None) -> Demo:
    """An example as a demo, outer white space dropped."""
    fields = {**example.inputs, **({} if reasoning is None else {REASONING: reasoning}), **example.outputs}
    return {name: value.strip() if isinstance(value, str) else value for name, value in fields.items()}


def demo_sizes(train: Sequence[Example], tokens: float) -> tuple[int, ...]:
    """The numbers of demos that train can fill and that stay within so many tokens."""
    size = mean(len(canonical(to_demo(example)).encode()) for example in train) / BYTES_PER_TOKEN
    fitting = tuple(k for k in KS if k <= len(train) and k * size <= tokens)
    return fitting or (1,)


def nearest_sets(task: Task) -> dict[str, DemoSet]:
    """Nearest by all inputs together, and by each one alone where there are several."""
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
    for example in rng.sample(examples, len(examples)):
        by_output.setdefault(canonical(example.outputs), []).append(example)
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
    for example in train[:POOL_ROWS]:
        demo = to_demo(example)
        size += len(canonical(demo))
        if size > POOL_BYTES:
            break
        pool.append(demo)
    return tuple(pool)


async def bootstrapped_sets(
    task: Task,
    layouts: Sequence[Layout],
    train: Sequence[Example],
    metric: Metric,
    client: Client,
    most: int,
    seed: int,
) -> dict[str, DemoSet]:
    """Demos that the model wrote itself and that score 1, plain and with reasoning; all rows are asked at once."""
    layout: Layout = "raw" if "raw" in layouts else layouts[0]
    rows = random.Random(f"{seed}-bootstrap").sample(train, min(BOOTSTRAP_ROWS, len(train)))
    shown = spread([ex for ex in train if ex not in rows] or train, BOOTSTRAP_DEMOS, f"{seed}-shown")
    instruction = task.signature.instructions
    sets = {}
    plain = build(task, layout, instruction, shown, k=BOOTSTRAP_DEMOS)
    own = right(await score_rows(plain, rows, metric, client))
    if own:
        demos: tuple[Demo, ...] = tuple({**to_demo(one.example), **(one.outputs or {})} for one in own)
        for name in BOOTSTRAPPED:
            order = random.Random(f"{seed}-{name}").sample(demos, min(most, len(demos)))
            sets[name] = DemoSet(tuple(order))
    if task.can_reason:
        reasoned = build(task, layout, instruction, reasoning=True)
        thought = right(await score_rows(reasoned, rows[:REASONED_ROWS], metric, client))
        sets[NONE_REASONED] = DemoSet(reasoning=True)
        demos = tuple(to_demo(r.example, as_text((r.outputs or {}).get(REASONING, ""))) for r in thought)
        if demos:
            sets[REASONED] = DemoSet(demos[:most], reasoning=True)
    return sets


def right(results: Sequence[Scored]) -> list[Scored]:
    """The results that score in full."""
    return [result for result in results if result.score >= 1.0 and result.outputs]


def unique(instructions: Sequence[str]) -> tuple[str, ...]:
    """The instructions without repetitions, in order."""
    return tuple(dict.fromkeys(text.strip() for text in instructions if text.strip()))
