"""Demos that the model wrote itself: its own best answers to train rows, plain and with reasoning.

After DSPy's BootstrapFewShot (Khattab et al. 2023, arXiv 2310.03714); here all rows are asked at once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from optimizer.search.candidate import FIELD
from optimizer.search.sources.given import spread
from optimizer.search.sources.source import SourceContext
from optimizer.search.space import Addition, DemoSet, Space, to_demo
from optimizer.search.study import Trial
from promptstill.endpoint.client import Client
from promptstill.prompt.fields import REASONING, as_text
from promptstill.prompt.layouts import Layout
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.parts import Demo
from promptstill.scoring.evaluate import best_answers, score_rows
from promptstill.task.examples import Example

BOOTSTRAPPED_SETS = 4
BOOTSTRAP_ROWS = 48
REASONED_ROWS = 16  # fewer, since a reasoned reply costs ten plain ones
BOOTSTRAP_DEMOS = 4
REASONED = "reasoned"  # the set whose demos have their reasoning


class BootstrapSource:
    """Asked once, after the first race."""

    def __init__(self, context: SourceContext) -> None:
        self.context = context

    def count(self, number: int, earlier: Sequence[Addition] | None = None) -> int:
        return int(number == 1 if earlier is None else number >= 1 and not earlier)

    def describe(self, count: int) -> str:
        return f"bootstrapped demos from {min(BOOTSTRAP_ROWS, len(self.context.train))} train rows"

    def max_calls(self, count: int) -> int:
        return BOOTSTRAP_ROWS + REASONED_ROWS

    async def propose(self, space: Space, history: Sequence[Trial], count: int, client: Client) -> Addition:
        train, seed = self.context.train, self.context.seed
        text: Layout = "chat" if space.dialect.thinking_tokens else "raw"
        layout = text if text in space.layouts else space.layouts[0]
        rows = random.Random(f"{seed}-bootstrap").sample(train, min(BOOTSTRAP_ROWS, len(train)))
        # Plain first: where a limit ends the run, its sets are the more useful.
        sets = await self._plain(space, layout, rows, client)
        if FIELD in space.reasonings:
            sets |= await self._reasoned(space, layout, rows[:REASONED_ROWS], client)
        return Addition(demo_sets=sets)

    async def _plain(self, space: Space, layout: Layout, rows: Sequence[Example], client: Client) -> dict[str, DemoSet]:
        """Sets of the best answers, each in an order of its own. No row is asked that is among the demos."""
        task, seed = self.context.task, self.context.seed
        others = [example for example in self.context.train if example not in rows] or self.context.train
        shown = spread(others, BOOTSTRAP_DEMOS, f"{seed}-shown")
        asked = [row for row in rows if to_demo(row) not in shown]
        prompt = build_prompt(task, layout, task.signature.instructions, shown, k=BOOTSTRAP_DEMOS)
        best = best_answers(await score_rows(prompt, asked, self.context.metric, client))
        demos: list[Demo] = [{**to_demo(one.example), **one.answered} for one in best]
        names = [f"bootstrapped-{i}" for i in range(BOOTSTRAPPED_SETS)] if demos else []
        most = min(max(space.sizes), len(demos))
        return {name: DemoSet(space.cut(random.Random(f"{seed}-{name}").sample(demos, most))) for name in names}

    async def _reasoned(
        self, space: Space, layout: Layout, rows: Sequence[Example], client: Client
    ) -> dict[str, DemoSet]:
        """Demos whose reasoning led to the best answers."""
        task = self.context.task
        prompt = build_prompt(task, layout, task.signature.instructions, reasoning=True)
        best = best_answers(await score_rows(prompt, rows, self.context.metric, client))
        demos = [to_demo(one.example, as_text((one.outputs or {}).get(REASONING, ""))) for one in best]
        return {REASONED: DemoSet(space.cut(demos))} if demos else {}
