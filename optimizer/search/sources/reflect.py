"""Instructions that learn from failures: parents answer train rows, and the proposer is told what went wrong there.

After GEPA (Agrawal et al. 2025, arXiv 2507.19457), whose request and choice of a parent are used as they are. Here all
proposals of a round are asked at once, each with other failures, and a child enters the space only if it beats its
parent on rows that no proposal was told of. How many are asked follows what earlier rounds came to.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from optimizer.search.leave_out import LeaveOut, demo_inputs
from optimizer.search.playoff import fixed_inputs
from optimizer.search.reflection.failures import confusions, deal, failures, is_among, to_record
from optimizer.search.reflection.pairing import FIRST_ROWS, LEAST_ERRORS, PAIRED_ROWS, is_behind, lead
from optimizer.search.reflection.parents import pick_parents
from optimizer.search.reflection.request import read_reply, write_request
from optimizer.search.reflection.rows import reflection_rows
from optimizer.search.sources.proposals import CutReply, Reply, filter_children
from optimizer.search.sources.proposer import open_proposer, opening_calls, reply_tokens
from optimizer.search.sources.source import SourceContext
from optimizer.search.space import Addition, Space
from optimizer.search.study import Trial
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import PROPOSER
from promptstill.endpoint.client import Client
from promptstill.errors import RequestRefused
from promptstill.files import canonical_json
from promptstill.prompt.template import defuse
from promptstill.scoring.evaluate import ScoredRow, gather_or_cancel, score_row
from promptstill.task.examples import Example

FIRST_ROUND = 2  # the first race and what needs no model's words come first
PROPOSALS, MOST_PROPOSALS = 4, 8  # in the first round, and in one that follows good ones
DRY_ROUNDS = 2  # rounds in turn without a kept child after which half as many are asked; none after one more
LOOKED_ROWS = 32  # answers of all parents together in which failures are looked for
PARENTS = 2
LEAST_ROWS = 2 * FIRST_ROWS  # labelled train rows below which there is nothing to learn from
NOTHING_FAILED, NO_BETTER = "had no failure to learn from", "no better than its parent on train rows"


class ReflectSource:
    """Asked before each later generation, for as long as its children win."""

    def __init__(self, context: SourceContext) -> None:
        self.context = context
        self.model = context.proposer or context.task.model
        self.rows = [row for row in reflection_rows(context.train, context.seed) if row.outputs]

    def count(self, number: int, earlier: Sequence[Addition] = ()) -> int:
        if number < FIRST_ROUND or not self.context.proposals or len(self.rows) < LEAST_ROWS:
            return 0
        return next_count(earlier)

    def describe(self, count: int) -> str:
        return f"{count} instructions by {self.model} from what failed on train rows"

    def max_calls(self, count: int) -> int:
        program = self.rows[0].program
        rows = LOOKED_ROWS + PAIRED_ROWS * (min(PARENTS, count) + count)
        return rows * (program.calls_per_row if program else 1) + self._proposer_calls(count)

    def _proposer_calls(self, count: int) -> int:
        return count + opening_calls(self.context)

    async def propose(
        self, space: Space, history: Sequence[Trial], feedback: Sequence[ScoredRow], count: int, client: Client
    ) -> Addition:
        stage = len(space.instructions) + len(space.refused)  # grows with each round
        seed = f"{self.context.seed}-reflect-{stage}"
        task = replace(self.context.task, structured=space.structured, dialect=space.dialect)
        work = SearchTask(task, space, self.context.train, (), self.context.metric, self.context.seed, 0)
        trials = pick_parents(history, seed)
        rows = fresh_rows(work, trials, random.Random(seed).sample(self.rows, len(self.rows)))
        if not trials or len(rows) < LEAST_ROWS:
            return Addition(refused=(NOTHING_FAILED,) * count)
        paired = rows[: min(PAIRED_ROWS, len(rows) // 2)]
        looked = rows[len(paired) :][: LOOKED_ROWS // len(trials)]
        minibatch = Minibatch(work, paired, client)
        results = await gather_or_cancel(minibatch.ask(trial, looked) for trial in trials)
        parents = [Parent(trial, found) for trial, found in zip(trials, results, strict=True)]
        drafts = self._drafts(work, parents, count)
        proposer = await open_proposer(self.context, client, self._proposer_calls(count))
        samples = [self.context.seed * 1000 + stage + place for place in range(len(drafts))]
        replies = await gather_or_cancel(
            self._ask(proposer, draft.request, sample) for draft, sample in zip(drafts, samples, strict=True)
        )
        children = [draft.child(reply) for draft, reply in zip(drafts, replies, strict=True)]
        known = [space.instructions[trial.candidate.instruction] for trial in trials]
        usable, refused = filter_children(
            children, [*known, *space.instructions], self.context.train, self.context.task.markers
        )
        told = {drafts[place].parent.trial.prompt_id: drafts[place].parent for place in usable}
        answers = await gather_or_cancel(minibatch.ask(one.trial, paired) for one in told.values())
        for one, found in zip(told.values(), answers, strict=True):
            one.paired = [result.score for result in found]
        leads = await gather_or_cancel(minibatch.lead(drafts[place].parent, text) for place, text in usable.items())
        ranked = sorted(zip(usable, leads, strict=True), key=lambda one: -one[1])
        kept = [place for place, by in ranked if by >= LEAST_ERRORS]
        return Addition(
            instructions=tuple(usable[place] for place in kept),
            refused=(
                *(NOTHING_FAILED,) * (count - len(drafts)),
                *refused,
                *(NO_BETTER,) * (len(usable) - len(kept)),
            ),
            origins=tuple(drafts[place].parent.trial.candidate.to_params() for place in kept),
        )

    def _drafts(self, work: SearchTask, parents: Sequence[Parent], count: int) -> list[Draft]:
        """The proposals to ask for: the parents take turns, those that failed nowhere left out."""
        failing = [parent for parent in parents if failures(parent.looked)]
        drafts = []
        for place, parent in enumerate(failing):
            hands = len(range(place, count, len(failing)))
            others = [one for one in parents if one is not parent]
            for hand, shown in enumerate(deal(failures(parent.looked), hands)):
                drafts.append(self._draft(work, parent, others, shown, guide=hand % 2 == 1))
        return drafts

    def _draft(
        self, work: SearchTask, parent: Parent, others: Sequence[Parent], shown: Sequence[ScoredRow], *, guide: bool
    ) -> Draft:
        """One proposal. guide: to the labels that the parent confuses, where the task has labels and it does."""
        label = next((one.name for one in work.task.outputs if one.choices is not None), None)
        confused = confusions(parent.looked, label) if guide and label else []
        if label and confused:
            pairs = [pair for pair, _ in confused]
            shown = sorted(shown, key=lambda one: not is_among(one, label, pairs))
        better = {one.example.id: one for other in others for one in other.looked}
        records = [to_record(one, better.get(one.example.id)) for one in shown]
        instruction = work.space.instructions[parent.trial.candidate.instruction]
        room = self.context.context_tokens - reply_tokens(self.context)
        request = write_request(instruction, defuse(records, work.task.markers), room, confused)
        return Draft(parent, request, f"{instruction}\n\n" if confused else "")

    async def _ask(self, proposer: Client, request: str, sample: int) -> Reply:
        """The proposer's reply, or the failure in its place."""
        messages = [{"role": "user", "content": request}]
        body = {"model": self.model, "messages": messages, "temperature": 1.0, "max_tokens": reply_tokens(self.context)}
        try:
            completion = await proposer.complete(proposer.spoken(body), PROPOSER, sample)
        except RequestRefused as error:
            return error
        return CutReply() if completion.finish_reason == "length" else completion.text


@dataclass
class Parent:
    """A trial whose instruction is improved. looked: its results on the rows in which failures were looked for.
    paired: its scores on the rows that its children answer too."""

    trial: Trial
    looked: Sequence[ScoredRow]
    paired: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Draft:
    """A proposal. before: what of the parent's instruction stays, in front of the reply."""

    parent: Parent
    request: str
    before: str

    def child(self, reply: Reply) -> Reply:
        """The instruction that the reply makes."""
        return f"{self.before}{read_reply(reply)}" if isinstance(reply, str) else reply


@dataclass(frozen=True)
class Minibatch:
    """Train rows, asked as the play-off asks them: each without itself and its group among the demos."""

    task: SearchTask
    rows: Sequence[Example]
    client: Client

    async def ask(self, trial: Trial, rows: Sequence[Example], instruction: str | None = None) -> list[ScoredRow]:
        """A candidate's results; instruction: in place of its own."""
        task, candidate = self.task, trial.candidate
        if instruction is not None:
            task = replace(task, space=task.space.grow(Addition((instruction,))))
            candidate = replace(candidate, instruction=task.space.instructions.index(instruction))
        left_out, whole = LeaveOut(task), task.prompt(candidate)
        return await gather_or_cancel(
            score_row(left_out.prompt(task, candidate, whole, row), row, task.metric, self.client) for row in rows
        )

    async def lead(self, parent: Parent, instruction: str) -> float:
        """By how many standard errors a child is better; a child that is behind halfway is asked no more."""
        scores: list[float] = []
        for rows in (self.rows[:FIRST_ROWS], self.rows[FIRST_ROWS:]):
            scores += [one.score for one in await self.ask(parent.trial, rows, instruction)]
            if is_behind(scores, parent.paired[: len(scores)]):
                break
        return lead(scores, parent.paired[: len(scores)])


def next_count(earlier: Sequence[Addition]) -> int:
    """How many proposals the next round asks for, by what this source's rounds so far have added and refused."""
    count, dry = PROPOSALS, 0
    for one in earlier:
        kept = len(one.instructions)
        dry = 0 if kept else dry + 1
        if dry > DRY_ROUNDS:
            return 0
        if dry == DRY_ROUNDS:
            count = count // 2
        elif 2 * kept >= count:
            count = min(MOST_PROPOSALS, count + PROPOSALS // 2)
    return count


def fresh_rows(task: SearchTask, trials: Sequence[Trial], rows: Sequence[Example]) -> list[Example]:
    """The rows of groups of which no parent shows a row whatever it is asked."""
    shown = {key for trial in trials for key in fixed_inputs(task, trial)}
    groups = {row.group for row in task.train if canonical_json(demo_inputs(row)) in shown}
    return [row for row in rows if row.group not in groups]
