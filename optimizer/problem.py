"""What a search works on, and how a candidate's tuple of names becomes a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from optimizer.examples import Example
from optimizer.layouts import Task, build
from optimizer.metrics import Metric
from optimizer.pools import NO_DEMOS, Pools
from optimizer.prompt import Layout, Prompt
from optimizer.race import most_bought
from optimizer.study import Params, Space


@dataclass(frozen=True)
class Problem:
    """What the search works on. `dev` is in its one fixed order."""

    task: Task
    pools: Pools
    train: Sequence[Example]
    dev: Sequence[Example]
    metric: Metric
    seed: int
    trials: int
    worker: int = 0
    race: bool = True

    @property
    def space(self) -> Space:
        return self.pools.space

    def rows_of(self, count: int) -> int:
        """The dev rows that a generation of `count` buys at most."""
        return most_bought(count, len(self.dev)) if self.race else count * len(self.dev)

    def prompt(self, params: Params) -> Prompt:
        """The candidate that a tuple of names stands for."""
        name, layout = str(params["demos"]), cast(Layout, params["layout"])
        k = self.pools.size(name, int(params["k"]))
        instruction = self.pools.instructions[int(params["instruction"])]
        reasoning = self.pools.demo_sets[name].reasoning
        return build(self.task, layout, instruction, self.pools.demos(name), k=k, reasoning=reasoning)

    def starters(self) -> list[dict[str, str | int]]:
        """The first candidates: the seed prompt, then what has served small models best (demos, raw text)."""
        few, many = self.pools.sizes[len(self.pools.sizes) // 2], self.pools.sizes[-1]
        layouts = self.pools.layouts
        text: Layout = "raw" if "raw" in layouts else layouts[0]
        nearest = [name for name, one in self.pools.demo_sets.items() if one.nearest]
        wanted = [(layouts[0], NO_DEMOS, few), (text, "labeled-0", few)]
        wanted += [(layouts[0], nearest[-1], many), (text, nearest[-1], few)]
        wanted += [(layout, "labeled-0", few) for layout in layouts[1:] if layout != text]
        wanted += [(text, "labeled-1", many)]
        return [{"layout": layout, "demos": demos, "k": k, "instruction": 0} for layout, demos, k in wanted]
