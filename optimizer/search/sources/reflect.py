"""Instructions that learn from failures: parents answer train rows, and the proposer is told what went wrong there.

After GEPA (Agrawal et al. 2025, arXiv 2507.19457), whose request and choice of a parent are used as they are. Here all
proposals of a round are asked at once, each with other failures, and a child enters the space only if it beats its
parent on rows that no proposal was told of; it is the parent of a second step then. How many are asked follows what
earlier rounds came to.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from optimizer.search.reflection.drafts import Draft, Parent, write_drafts
from optimizer.search.reflection.pairing import FIRST_ROWS, LEAST_ERRORS, PAIRED_ROWS, Minibatch, fresh_rows, with_child
from optimizer.search.reflection.parents import PARENTS, pick_parents
from optimizer.search.reflection.rows import reflection_rows
from optimizer.search.sources.proposals import LONGEST, CutReply, Reply, filter_children, merge
from optimizer.search.sources.proposer import open_proposer, opening_calls, reply_tokens
from optimizer.search.sources.source import SourceContext
from optimizer.search.space import Addition, Space
from optimizer.search.study import Trial
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import PROPOSER
from promptstill.endpoint.client import Client
from promptstill.errors import RequestRefused
from promptstill.scoring.evaluate import gather_or_cancel
from promptstill.task.examples import Example

PROPOSALS = 4  # at once, in one step
STEPS = 2  # of a round at most: children that won are the parents of another
DRY_ROUNDS = 2  # in turn, without a kept child, after which half as many are asked; after one more none
LOOKED_ROWS = 32  # that are asked, by all parents together, to find failures
LEAST_ROWS = 2 * FIRST_ROWS  # labelled train rows below which there is nothing to learn from
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

    def count(self, number: int, earlier: Sequence[Addition] = ()) -> int:
        first = 1 if self.context.proposer else 2
        enough = len(self.rows) >= LEAST_ROWS and not self.context.task.in_program
        wanted = number >= first and self.context.proposals and enough
        return next_count(earlier) if wanted else 0

    def describe(self, count: int) -> str:
        return f"up to {count} instructions by {self.model} from what failed on train rows"

    def max_calls(self, count: int) -> int:
        if not count:
            return 0
        answers = PARENTS + min(count, PROPOSALS) + 1  # to each paired row; one for what children say together
        rows = steps(count) * (LOOKED_ROWS + PAIRED_ROWS * answers)
        return rows + count + opening_calls(self.context)

    async def propose(self, space: Space, history: Sequence[Trial], count: int, client: Client) -> Addition:
        context, found = self.context, list[Child]()
        stage = len(space.instructions) + len(space.refused)  # each round makes it greater
        task = replace(context.task, structured=space.structured, dialect=space.dialect)
        search_task = SearchTask(task, space, context.train, (), context.metric, context.seed, 0)
        parents, refused = pick_parents(history, f"{context.seed}-parents-{stage}"), list[str]()
        proposer: Client | None = None
        for step in range(steps(count)):
            seed = f"{context.seed}-reflect-{stage}-{step}"
            rows = fresh_rows(search_task, parents, random.Random(seed).sample(self.rows, len(self.rows)))
            minibatch = Minibatch(search_task, rows[: min(PAIRED_ROWS, len(rows) // 2)], client)
            looked = rows[len(minibatch.rows) :][: LOOKED_ROWS // max(1, len(parents))]
            drafts = await self._drafts(minibatch, parents, looked, min(count, PROPOSALS))
            if not drafts:
                break
            proposer = proposer or await open_proposer(context, client, count + opening_calls(context))
            sample = context.seed * 1000 + stage + step * PROPOSALS
            replies = await gather_or_cancel(
                self._ask(proposer, draft.request, sample + place) for place, draft in enumerate(drafts)
            )
            written = [draft.child(reply) for draft, reply in zip(drafts, replies, strict=True)]
            before, known = [draft.before for draft in drafts], search_task.space.instructions
            usable, why = filter_children(written, before, known, context.train, context.task.markers)
            children = await keep_better(minibatch, drafts, usable)
            kept = {child.instruction for child in children}
            refused += [*why, *[NO_BETTER] * sum(one not in kept for one in usable.values())]
            improved = {child.parent.candidate.instruction for child in children} if step else set()
            found = [*children, *(one for one in found if known.index(one.instruction) not in improved)]
            if not children:
                break
            parents = list[Trial]()
            for child in children:
                search_task, candidate = with_child(search_task, child.parent.candidate, child.instruction)
                parents.append(replace(child.parent, candidate=candidate))  # its scores are not known
            parents = parents[:PARENTS]
        origins = tuple(child.parent.candidate.to_params() for child in found)
        return Addition(tuple(child.instruction for child in found), refused=tuple(refused), origins=origins)

    async def _drafts(
        self, minibatch: Minibatch, trials: Sequence[Trial], looked: Sequence[Example], count: int
    ) -> list[Draft]:
        """What to ask for; nothing where no row is left on which a child could be judged, or none failed."""
        if not trials or len(minibatch.rows) < FIRST_ROWS:
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
    """An instruction that beat its parent's, everything else being the parent's."""

    instruction: str
    parent: Trial


async def keep_better(minibatch: Minibatch, drafts: Sequence[Draft], written: Mapping[int, str]) -> list[Child]:
    """The children that beat their parents, the best first. written: by place among the drafts.

    What children of one parent say together is one more child, which must be further ahead than each of them.
    """
    jobs = (minibatch.lead(drafts[place].parent, child) for place, child in written.items())
    leads = dict(zip(written, await gather_or_cancel(jobs), strict=True))
    ahead = sorted((place for place in written if leads[place] > 0), key=lambda place: -leads[place])
    kept = [Child(written[place], drafts[place].parent) for place in ahead if leads[place] >= LEAST_ERRORS]
    if ahead:
        best, parent = ahead[0], drafts[ahead[0]].parent
        merged = merge([written[place] for place in ahead if drafts[place].parent is parent])
        if merged not in written.values() and len(merged) <= LONGEST:
            lead = await minibatch.lead(parent, merged)
            if lead >= LEAST_ERRORS and lead > leads[best]:
                return [Child(merged, parent), *kept]
    return kept


def next_count(earlier: Sequence[Addition]) -> int:
    """How many proposals the next round asks for at most, by what the rounds so far have added."""
    dry = 0
    for one in reversed(earlier):
        if one.instructions:
            break
        dry += 1
    most = STEPS * PROPOSALS
    return most if dry < DRY_ROUNDS else most // 2 if dry == DRY_ROUNDS else 0


def steps(count: int) -> int:
    """The steps in which so many proposals are asked for, if each but the last has a child that wins."""
    return -(-count // PROPOSALS)
