"""Demo sets that come of the best one: what the model gets wrong is added, what may hurt left out, two are crossed.

The model is asked some train rows with the best set, each without itself among the demos. Which child is worth its
place, a race tells.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from optimizer.search.playoff import is_below
from optimizer.search.reflection.failures import failures
from optimizer.search.reflection.pairing import Minibatch
from optimizer.search.sources.source import SourceContext
from optimizer.search.space import Addition, DemoSet, Space, to_demo
from optimizer.search.study import Trial
from promptstill.endpoint.client import Client
from promptstill.files import canonical_json
from promptstill.prompt.layouts import OWN
from promptstill.prompt.layouts.parts import Demo

NAME = "evolved"
LOOKED_ROWS = 16  # that are asked to find failures
DRY_ROUNDS = 2  # in turn, without a new set, after which none is asked for
PART = 4  # a child differs from its parent in one of so many demos, in one at least


class EvolveSource:
    """Asked before each later generation, as long as fixed demos are as good as any others. A predictor of a program
    keeps its sets: what its part should have said is known only of rows that it got right."""

    def __init__(self, context: SourceContext) -> None:
        self.context = context
        self.rows = [row for row in context.train if row.outputs]

    def count(self, number: int, earlier: Sequence[Addition] | None = None) -> int:
        if number < 1 or self.context.task.in_program or len(self.rows) < LOOKED_ROWS:
            return 0
        last = (earlier or ())[-DRY_ROUNDS:]
        return int(len(last) < DRY_ROUNDS or any(one.demo_sets for one in last))

    def describe(self, count: int) -> str:
        return "demos from what failed"

    def max_calls(self, count: int) -> int:
        return LOOKED_ROWS

    async def propose(self, space: Space, history: Sequence[Trial], count: int, client: Client) -> Addition:
        context = self.context
        fixed = best_fixed(space, history)
        if not fixed:
            return Addition()
        parent, stage = fixed[0], len(space.demo_sets)
        rng = random.Random(f"{context.seed}-evolve-{stage}")
        minibatch = Minibatch(context.search_task(space), rng.sample(self.rows, LOOKED_ROWS), client)
        failed = [to_demo(one.example) for one in failures(await minibatch.ask(parent, minibatch.rows))]
        shown = [demos_of(space, trial) for trial in fixed]
        children = {f"{NAME}-{stage + number}": one for number, one in enumerate(evolve(space, shown, failed, rng))}
        sizes = {
            name: next((k for k in space.sizes if k >= len(one)), max(space.sizes)) for name, one in children.items()
        }
        tries = tuple(replace(parent.candidate, demos=name, k=k).to_params() for name, k in sizes.items())
        return Addition(demo_sets={name: DemoSet(one) for name, one in children.items()}, tries=tries)


def best_fixed(space: Space, history: Sequence[Trial]) -> list[Trial]:
    """The trials with fixed demos that were raced to the end, the best of each set, the best first; none where other
    prompts are better beyond doubt, or where two rounds of children have not led."""
    raced = [trial for trial in history if not trial.lost and trial.candidate.layout != OWN]
    leader = max(raced, key=lambda trial: trial.value, default=None)
    if leader is None:
        return []
    of_set: dict[str, Trial] = {}
    for trial in sorted((one for one in raced if demos_of(space, one)), key=lambda trial: -trial.value):
        of_set.setdefault(trial.candidate.demos, trial)
    best = list(of_set.values())
    tried = sum(name.startswith(NAME) for name in {trial.candidate.demos for trial in history})
    barren = tried > DRY_ROUNDS * PART and bool(best) and not best[0].candidate.demos.startswith(NAME)
    return [] if barren or not best or is_below(best[0], leader) else best


def demos_of(space: Space, trial: Trial) -> tuple[Demo, ...]:
    """The demos that a trial shows whatever it is asked; of what the model wrote itself, as it wrote it."""
    return space.demo_sets[trial.candidate.demos].demos[: space.demo_count(trial.candidate.demos, trial.candidate.k)]


def evolve(
    space: Space, shown: Sequence[tuple[Demo, ...]], failed: Sequence[Demo], rng: random.Random
) -> Iterator[tuple[Demo, ...]]:
    """The children of the first of these sets, each within a set's size, none equal to what is there. failed: rows to
    add."""
    parent = shown[0]
    part = max(1, len(parent) // PART)
    new = [demo for demo in failed if demo not in parent][: 2 * part]
    dropped = set(rng.sample(range(len(parent)), part))
    kept = tuple(demo for place, demo in enumerate(parent) if place not in dropped)
    other = shown[1] if len(shown) > 1 else ()
    crossed = {canonical_json(demo): demo for pair in zip(parent, other, strict=False) for demo in pair}
    known = [one.demos for one in space.demo_sets.values()]
    for child in (
        (*parent, *new[:part]),
        (*kept, *new[:part]),
        tuple(crossed.values())[: len(parent)],
        kept if not new else (*new, *kept)[: len(parent)],
    ):
        fitting = space.cut(child)
        if fitting and fitting != parent and fitting not in known:
            known.append(fitting)
            yield fitting
