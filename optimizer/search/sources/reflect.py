"""Instructions that learn from failures: parents answer train rows, and the proposer is told what went wrong there.

After GEPA (Agrawal et al. 2025, arXiv 2507.19457), whose request and choice of a parent are used as they are. Here all
proposals of a step are asked at once, each with other failures, and what they say together is the parent of the next
step where it does better on rows that no proposal was told of. What the last step came to enters the space if it was
ahead far enough in all of them. How many are asked goes by what earlier rounds came to.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

from optimizer.search.reflection.drafts import Draft, Parent, write_drafts
from optimizer.search.reflection.pairing import (
    FEWEST_PAIRED,
    LEAST_ERRORS,
    PAIRED_ROWS,
    Minibatch,
    fresh_rows,
    with_child,
)
from optimizer.search.reflection.parents import PARENTS, pick_parents
from optimizer.search.reflection.rows import reflection_rows
from optimizer.search.sources.proposals import LONGEST, CutReply, Reply, filter_children, merge
from optimizer.search.sources.proposer import open_proposer, opening_calls, reply_tokens
from optimizer.search.sources.source import SourceContext
from optimizer.search.space import Addition, Space
from optimizer.search.study import Trial
from promptstill.endpoint.allowance import PROPOSER
from promptstill.endpoint.client import Client
from promptstill.errors import RequestRefused
from promptstill.scoring.evaluate import gather_or_cancel
from promptstill.task.examples import Example

PROPOSALS = 4  # at once, in one step
STEPS = 2  # of a round at most, each from the best child of the last; twice as many once a round has won
DRY_ROUNDS = 2  # in turn, without a kept child, after which half as many are asked; after one more none
LOOKED_ROWS = 32  # that parents are asked together to find failures, in a round of as many proposals as one step has
LATER_ROWS = 16  # likewise of a child that is the parent of a later step
LEAST_ROWS = 3 * FEWEST_PAIRED  # labelled train rows below which there is nothing to learn from
NO_BETTER = "no better than its parent on train rows"


class ReflectSource:
    """Asked before each later generation, for as long as its children win.

    The task's own model is asked from the second round on: in a short search it is not worth its calls. Another one was
    named to write instructions. A program's predictor is left as it is: what its part should have said is known only of
    rows that it got right.
    """

    def __init__(self, context: SourceContext) -> None:
        self.context = context
        self.model = context.proposer or context.task.model
        self.rows = [row for row in reflection_rows(context.train, context.seed) if row.outputs]

    def count(self, number: int, earlier: Sequence[Addition] | None = None) -> int:
        first = 1 if self.context.proposer else 2
        enough = len(self.rows) >= LEAST_ROWS and not self.context.task.in_program
        wanted = number >= first and self.context.proposals and enough
        if not wanted:
            return 0
        return next_count(earlier or ()) if earlier is not None or number == first else 2 * STEPS * PROPOSALS

    def describe(self, count: int) -> str:
        return f"up to {count} instructions by {self.model} from what failed on train rows"

    def max_calls(self, count: int) -> int:
        if not count:
            return 0
        each = min(count, PROPOSALS)
        whole, half = PAIRED_ROWS, PAIRED_ROWS // 2
        # What all say together and its parent on all rows; each child and parent on half, and the best on the rest.
        paired = 2 * whole + half * (each + PARENTS + 1)
        looked = looked_rows(each) + LATER_ROWS * (steps(count) - 1)
        return looked + paired * steps(count) + count + opening_calls(self.context)

    async def propose(self, space: Space, history: Sequence[Trial], count: int, client: Client) -> Addition:
        context, each = self.context, min(count, PROPOSALS)
        stage = len(space.instructions) + len(space.refused)  # each round makes it greater
        search_task = context.search_task(space)
        parents, refused = pick_parents(history, f"{context.seed}-parents-{stage}"), list[str]()
        rows: Sequence[Example] = fresh_rows(
            search_task, parents, shuffled(self.rows, f"{context.seed}-reflect-{stage}")
        )
        proposer: Client | None = None
        best: Child | None = None
        answered: Sequence[Example] = ()
        part = len(rows) // max(1, most_steps := min(steps(count), len(rows) // (2 * FEWEST_PAIRED)))
        for step in range(most_steps):
            paired, rows = split_off(rows, min(PAIRED_ROWS, part // 2))
            wanted = LATER_ROWS if step else looked_rows(each) // max(1, len(parents))
            fresh, rows = split_off(rows, min(wanted, part - len(paired)))
            minibatch, looked = Minibatch(search_task, paired, client), [*answered, *fresh]
            drafts = await self._drafts(minibatch, parents, looked, each)
            if not drafts:
                break
            proposer = proposer or await open_proposer(context, client, count + opening_calls(context))
            sample = context.seed * 1000 + stage + step * PROPOSALS
            replies = await gather_or_cancel(
                self._ask(proposer, draft.request, sample + place) for place, draft in enumerate(drafts)
            )
            written = [draft.child(reply) for draft, reply in zip(drafts, replies, strict=True)]
            before, known = [draft.before for draft in drafts], search_task.space.instructions
            usable, why = filter_children(written, before, known, context.train, context.task.markers, context.judging)
            child = await pick_child(minibatch, drafts, usable)
            refused += [*why, *[NO_BETTER] * (len(usable) - (child is not None))]
            if child is None:
                break
            search_task, candidate = with_child(search_task, child.parent.candidate, child.instruction)
            parents, answered = [replace(child.parent, candidate=candidate)], paired  # its scores are not known
            best = Child(child.instruction, best.parent, [*best.leads, *child.leads]) if best else child
        if best is None or best.errors_ahead < LEAST_ERRORS:
            return Addition(refused=(*refused, *([NO_BETTER] if best else [])))
        origin = best.parent.candidate.to_params()
        return Addition((best.instruction,), refused=tuple(refused), origins=(origin,))

    async def _drafts(
        self, minibatch: Minibatch, trials: Sequence[Trial], looked: Sequence[Example], count: int
    ) -> list[Draft]:
        """What to ask for; nothing where no row is left on which a child could be judged, or none failed."""
        if not trials or len(minibatch.rows) < FEWEST_PAIRED:
            return []
        results = await gather_or_cancel(minibatch.ask(trial, looked) for trial in trials)
        parents = [Parent(trial, found) for trial, found in zip(trials, results, strict=True)]
        room = self.context.context_tokens - reply_tokens(self.context)
        return write_drafts(minibatch.task, parents, count, room)

    async def _ask(self, proposer: Client, request: str, sample: int) -> Reply:
        """The proposer's reply, or the failure in its place."""
        messages, limit = [{"role": "user", "content": request}], reply_tokens(self.context)
        body = {"model": self.model, "messages": messages, "temperature": 1.0, "max_tokens": limit}
        try:
            completion = await proposer.complete(proposer.spoken(body), PROPOSER, sample)
        except RequestRefused as error:
            return error
        return CutReply() if completion.finish_reason == "length" else completion.text


@dataclass(frozen=True)
class Child:
    """An instruction in place of its parent's, everything else being the parent's. leads: by how many standard errors
    it was better in each step that led to it."""

    instruction: str
    parent: Trial
    leads: Sequence[float] = ()

    @property
    def errors_ahead(self) -> float:
        """Of all steps together (Stouffer's sum)."""
        return sum(self.leads) / sqrt(len(self.leads))


async def pick_child(minibatch: Minibatch, drafts: Sequence[Draft], written: Mapping[int, str]) -> Child | None:
    """The child that is ahead of its parent; None where none is. written: by place among the drafts.

    What all children say together comes first, beside the first parent: so a step learns from all the failures that it
    has shown, and improves enough to be seen on a few rows. Where that is not ahead, each child is asked half the rows,
    and the best of them the others.
    """
    children = [Child(text, drafts[place].parent) for place, text in written.items()]
    together = merge([one.instruction for one in children]) if children else ""
    if len(children) > 1 and len(together) <= LONGEST:
        merged = Child(together, drafts[0].parent)
        lead = await minibatch.lead(merged.parent, merged.instruction)
        if lead > 0:
            return replace(merged, leads=(lead,))
    half = replace(minibatch, rows=minibatch.rows[: len(minibatch.rows) // 2])
    leads = await gather_or_cancel(half.lead(one.parent, one.instruction) for one in children)
    lead, place = max(zip(leads, range(len(children)), strict=True), default=(0.0, 0))
    if lead <= 0:
        return None
    best = children[place]
    lead = await minibatch.lead(best.parent, best.instruction)
    return replace(best, leads=(lead,)) if lead > 0 else None


def split_off(rows: Sequence[Example], count: int) -> tuple[Sequence[Example], Sequence[Example]]:
    """The first so many rows, and the others."""
    return rows[:count], rows[count:]


def looked_rows(proposals: int) -> int:
    """The rows in which the failures are found that so many proposals are told of."""
    return LOOKED_ROWS * proposals // PROPOSALS


def shuffled(rows: Sequence[Example], seed: str) -> list[Example]:
    return random.Random(seed).sample(rows, len(rows))


def next_count(earlier: Sequence[Addition]) -> int:
    """How many proposals the next round asks for at most, by what the rounds so far have added."""
    dry = 0
    for one in reversed(earlier):
        if one.instructions:
            break
        dry += 1
    most = STEPS * PROPOSALS
    if earlier and not dry:
        return 2 * most
    return most if dry < DRY_ROUNDS else most // 2 if dry == DRY_ROUNDS else 0


def steps(count: int) -> int:
    """The steps in which so many proposals are asked for, if each but the last has a child that wins."""
    return -(-count // PROPOSALS)
