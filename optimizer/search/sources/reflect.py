"""Instructions that learn from failures: parents answer train rows, and the proposer is told what went wrong there.

After GEPA (Agrawal et al. 2025, arXiv 2507.19457), whose request and choice of a parent are used as they are. Here all
proposals of a round are asked at once, each with other failures, and a child enters the space only if it beats its
parent on rows that no proposal was told of. How many are asked follows what earlier rounds came to.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from optimizer.search.reflection.drafts import Draft, Parent, write_drafts
from optimizer.search.reflection.pairing import FIRST_ROWS, LEAST_ERRORS, PAIRED_ROWS, Minibatch, fresh_rows
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
from promptstill.scoring.evaluate import ScoredRow, gather_or_cancel

PROPOSALS = 4  # in a round
DRY_ROUNDS = 2  # in turn, without a kept child, after which half as many are asked; after one more none
LOOKED_ROWS = 32  # that are asked, by all parents together, to find failures
LEAST_ROWS = 2 * FIRST_ROWS  # labelled train rows below which there is nothing to learn from
NOTHING_FAILED, NO_BETTER = "had no failure to learn from", "no better than its parent on train rows"


class ReflectSource:
    """Asked before each later generation, for as long as its children win.

    The task's own model is asked from the second round on: in a short search it is not worth its calls. Another one was
    named to write instructions.
    """

    def __init__(self, context: SourceContext) -> None:
        self.context = context
        self.model = context.proposer or context.task.model
        self.rows = [row for row in reflection_rows(context.train, context.seed) if row.outputs]

    def count(self, number: int, earlier: Sequence[Addition] = ()) -> int:
        first = 1 if self.context.proposer else 2
        wanted = number >= first and self.context.proposals and len(self.rows) >= LEAST_ROWS
        return next_count(earlier) if wanted else 0

    def describe(self, count: int) -> str:
        return f"{count} instructions by {self.model} from what failed on train rows"

    def max_calls(self, count: int) -> int:
        if not count:
            return 0
        program = self.rows[0].program
        rows = LOOKED_ROWS + PAIRED_ROWS * (PARENTS + count + 1)  # one for what children say together
        return rows * (program.calls_per_row if program else 1) + self._proposer_calls(count)

    def _proposer_calls(self, count: int) -> int:
        return count + opening_calls(self.context)

    async def propose(
        self, space: Space, history: Sequence[Trial], feedback: Sequence[ScoredRow], count: int, client: Client
    ) -> Addition:
        context, stage = self.context, len(space.instructions) + len(space.refused)  # each round makes it greater
        seed = f"{context.seed}-reflect-{stage}"
        task = replace(context.task, structured=space.structured, dialect=space.dialect)
        search_task = SearchTask(task, space, context.train, (), context.metric, context.seed, 0)
        trials = pick_parents(history, seed)
        rows = fresh_rows(search_task, trials, random.Random(seed).sample(self.rows, len(self.rows)))
        paired = rows[: min(PAIRED_ROWS, len(rows) // 2)]
        if not trials or len(paired) < FIRST_ROWS:
            return Addition(refused=(NOTHING_FAILED,) * count)
        minibatch, looked = Minibatch(search_task, paired, client), rows[len(paired) :][: LOOKED_ROWS // len(trials)]
        results = await gather_or_cancel(minibatch.ask(trial, looked) for trial in trials)
        parents = [Parent(trial, found) for trial, found in zip(trials, results, strict=True)]
        drafts = write_drafts(search_task, parents, count, context.context_tokens - reply_tokens(context))
        if not drafts:
            return Addition(refused=(NOTHING_FAILED,) * count)
        proposer = await open_proposer(context, client, self._proposer_calls(count))
        replies = await gather_or_cancel(
            self._ask(proposer, draft.request, context.seed * 1000 + stage + place)
            for place, draft in enumerate(drafts)
        )
        children = [draft.child(reply) for draft, reply in zip(drafts, replies, strict=True)]
        usable, refused = filter_children(children, space.instructions, context.train, context.task.markers)
        kept = await keep_better(minibatch, drafts, usable)
        refused += [NO_BETTER] * sum(child not in dict(kept) for child in usable.values())
        origins = tuple(parent.candidate.to_params() for _, parent in kept)
        return Addition(tuple(child for child, _ in kept), refused=tuple(refused), origins=origins)

    async def _ask(self, proposer: Client, request: str, sample: int) -> Reply:
        """The proposer's reply, or the failure in its place."""
        messages, limit = [{"role": "user", "content": request}], reply_tokens(self.context)
        body = {"model": self.model, "messages": messages, "temperature": 1.0, "max_tokens": limit}
        try:
            completion = await proposer.complete(proposer.spoken(body), PROPOSER, sample)
        except RequestRefused as error:
            return error
        return CutReply() if completion.finish_reason == "length" else completion.text


async def keep_better(
    minibatch: Minibatch, drafts: Sequence[Draft], children: Mapping[int, str]
) -> list[tuple[str, Trial]]:
    """The children that beat their parents, each with its parent, the best first. children: by place among the drafts.

    What children of one parent say together is one more child, which must be further ahead than each of them.
    """
    jobs = (minibatch.lead(drafts[place].parent, child) for place, child in children.items())
    leads = dict(zip(children, await gather_or_cancel(jobs), strict=True))
    ahead = sorted((place for place in children if leads[place] > 0), key=lambda place: -leads[place])
    kept = [(children[place], drafts[place].parent) for place in ahead if leads[place] >= LEAST_ERRORS]
    if ahead:
        best, parent = ahead[0], drafts[ahead[0]].parent
        siblings = [children[place] for place in ahead if drafts[place].parent is parent]
        if (merged := merge(siblings)) not in children.values() and len(merged) <= LONGEST:
            lead = await minibatch.lead(parent, merged)
            if lead >= LEAST_ERRORS and lead > leads[best]:
                return [(merged, parent), *kept]
    return kept


def next_count(earlier: Sequence[Addition]) -> int:
    """How many proposals the next round asks for, by what the rounds so far have added."""
    dry = 0
    for one in reversed(earlier):
        if one.instructions:
            break
        dry += 1
    return PROPOSALS if dry < DRY_ROUNDS else PROPOSALS // 2 if dry == DRY_ROUNDS else 0
