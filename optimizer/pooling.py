"""How a run's pools come about: what needs no model at once, the rest once the first candidates have raced."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optimizer.client import Client
from optimizer.evaluate import all_or_none
from optimizer.files import write_json
from optimizer.forecast import filling
from optimizer.layouts import Task
from optimizer.pools import (
    BOOTSTRAP_ROWS,
    FIXED_TOKENS,
    NEAREST_TOKENS,
    NO_DEMOS,
    DemoSet,
    Pools,
    bootstrapped_sets,
    demo_pool,
    demo_sizes,
    labeled_sets,
    nearest_sets,
    unique,
)
from optimizer.prepare import Prepared
from optimizer.probe import Abilities, refuse_less
from optimizer.progress import Watch
from optimizer.propose import account, propose_instructions
from optimizer.settings import Settings
from optimizer.spelled import plural
from optimizer.study import StoredStudy


@dataclass(frozen=True)
class Pooling:
    """Makes the pools of one run, or takes those that the run or its study has frozen at `path`."""

    prepared: Prepared
    settings: Settings
    task: Task
    able: Abilities
    context: int
    client: Client
    study: StoredStudy
    path: Path
    watch: Watch

    @property
    def most_calls(self) -> int:
        return filling(self.settings)

    def frozen(self) -> Pools | None:
        """The study's pools, once they are filled. Raises `UserError` at a lesser endpoint."""
        found = self.study.pools()
        return None if found is None else self._kept(found)

    def _kept(self, frozen: dict[str, Any]) -> Pools:
        if not self.path.is_file() or json.loads(self.path.read_text(encoding="utf-8")) != frozen:
            write_json(self.path, frozen)
        pools = Pools.from_json(frozen)
        refuse_less(self.able, pools)
        return pools

    def given(self) -> Pools:
        """The choices that need no call: the recipe's own instructions, labelled rows, and the rows nearest.

        Until the others are there, pools.json shows these.
        """
        train, task = self.prepared.splits.train, self.task
        sizes = demo_sizes(train, min(FIXED_TOKENS, self.context / 2))
        most_nearest = demo_sizes(train, min(NEAREST_TOKENS, self.context / 2))[-1]
        labeled = labeled_sets(train, max(sizes), self.settings.seed)
        sets = {NO_DEMOS: DemoSet(), **labeled, **nearest_sets(task)}
        instructions = unique([task.signature.instructions, *self.prepared.loaded.recipe.instructions])
        can = (self.able.layouts, self.able.structured)
        pools = Pools(instructions, sets, demo_pool(train), sizes, most_nearest, *can)
        if not self.path.is_file():
            write_json(self.path, pools.to_json())
        return pools

    async def fill(self) -> Pools:
        """The given choices with what the model proposes and bootstraps, frozen for this run and its study."""
        frozen = self.frozen()
        if frozen:
            return frozen
        with self.watch.aside():
            made = await self._asked(self.given())
        return self._kept(self.study.freeze_pools(made.to_json()))

    async def _asked(self, given: Pools) -> Pools:
        settings, train, recipe = self.settings, self.prepared.splits.train, self.prepared.loaded.recipe
        count = settings.proposing
        asked = settings.proposer or self.task.model
        by = f"{count} instructions proposed by {asked}, " if count else ""
        shown = min(BOOTSTRAP_ROWS, len(train))
        self.watch.say(f"building pools (usually 10-60 s): {by}bootstrapped demos from {shown} train rows")
        proposals = propose_instructions(
            self.task.signature,
            train,
            self.client,
            model=asked,
            count=count,
            seed=settings.seed,
            summary=settings.proposer is not None,
        )
        demos = bootstrapped_sets(
            self.task, given.layouts, train, recipe.metric, self.client, max(given.sizes), settings.seed
        )
        sides: list[Coroutine[Any, Any, Any]] = [proposals, demos]
        (new, refused), boot = await all_or_none(sides)
        instructions = unique([*given.instructions, *new])
        sets = {**given.demo_sets, **boot}
        self.watch.say(
            f"pools: {plural(len(instructions), 'instruction')}, {len(sets)} demo sets of up to {max(given.sizes)}, "
            f"{plural(len(given.layouts), 'layout')}{account(refused, len(new))}"
        )
        return replace(given, instructions=instructions, demo_sets=sets, refused=tuple(refused))
