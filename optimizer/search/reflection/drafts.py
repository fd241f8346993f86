"""The proposals of a round: whose instruction each improves, and what its request tells of what failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.search.reflection.failures import confusions, deal, failures, is_among, to_record
from optimizer.search.reflection.request import read_reply, write_request
from optimizer.search.sources.proposals import Reply
from optimizer.search.study import Trial
from optimizer.search.task import SearchTask
from promptstill.prompt.template import defuse
from promptstill.scoring.evaluate import ScoredRow


@dataclass(frozen=True)
class Parent:
    """A trial whose instruction is improved. looked: its results on the rows in which failures were looked for."""

    trial: Trial
    looked: Sequence[ScoredRow]


@dataclass(frozen=True)
class Draft:
    """A proposal. before: what of the parent's instruction stays, in front of the reply."""

    parent: Trial
    request: str
    before: str

    def child(self, reply: Reply) -> Reply:
        """The instruction that the reply makes."""
        return f"{self.before}{read_reply(reply)}" if isinstance(reply, str) else reply


def write_drafts(task: SearchTask, parents: Sequence[Parent], count: int, room: int) -> list[Draft]:
    """So many proposals: the parents take turns, those that failed nowhere left out. room: tokens of a request.

    Every second one of a parent asks for a guide to the labels that it confuses, where the task has labels and it does.
    """
    failing = [parent for parent in parents if failures(parent.looked)]
    drafts = []
    for place, parent in enumerate(failing):
        others = [one for one in parents if one is not parent]
        hands = deal(failures(parent.looked), len(range(place, count, len(failing))))
        drafts += [
            write_draft(task, parent, others, shown, room, guide=number % 2 == 1) for number, shown in enumerate(hands)
        ]
    return drafts


def write_draft(
    task: SearchTask, parent: Parent, others: Sequence[Parent], shown: Sequence[ScoredRow], room: int, *, guide: bool
) -> Draft:
    """One proposal about the failures that are shown, and what others answered there."""
    label = next((field.name for field in task.task.outputs if field.choices is not None), None)
    confused = confusions(parent.looked, label) if guide and label else []
    pairs = [pair for pair, _ in confused]
    if label and pairs:
        shown = sorted(shown, key=lambda one: not is_among(one, label, pairs))
    better = {one.example.id: one for other in others for one in other.looked}
    records = [to_record(one, better.get(one.example.id)) for one in shown]
    instruction = task.space.instructions[parent.trial.candidate.instruction]
    request = write_request(instruction, defuse(records, task.task.markers), room, confused)
    return Draft(parent.trial, request, f"{instruction}\n\n" if confused else "")
