"""The vote of the k train rows nearest to the input, by the retrieval that picks nearest demos (all inputs together).

Of each output: the commonest label, of equally common ones the nearest row's; the median of numbers; the nearest row's
own value of anything else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from promptstill.prompt.nearest import NearestIndex
from promptstill.scoring.rivals.kinds import Kind, commonest, middle
from promptstill.scoring.rivals.majority import constant_answer
from promptstill.scoring.rivals.task import Answer, FittedRival, RivalTask
from promptstill.task.examples import Example

KS = (1, 3, 5, 8, 16)


def fit(task: RivalTask) -> FittedRival:
    """The voters, with the k that scores highest on dev."""
    pool = [{**row.inputs, **row.outputs} for row in task.train]
    voters = Voters(NearestIndex(pool, task.names, task.names), task.kinds, constant_answer(task))
    left_out = [places_of_group(task, row) for row in task.dev]
    near = [voters.near(row, places) for row, places in zip(task.dev, left_out, strict=True)]
    k = task.choose(KS, lambda k: [voters.vote(rows, k) for rows in near])
    return FittedRival(lambda rows: [voters.vote(voters.near(row), k) for row in rows], {"k": k})


def places_of_group(task: RivalTask, row: Example) -> set[int]:
    """The places in train of the row's group, where dev is train; else none."""
    if not task.same_rows:
        return set()
    return {place for place, other in enumerate(task.train) if other.group == row.group}


class Voters:
    """Train rows that vote. otherwise: the answer where none is near, as with nothing but near duplicates."""

    def __init__(self, index: NearestIndex, kinds: Mapping[str, Kind], otherwise: Answer) -> None:
        self.index, self.kinds, self.otherwise = index, kinds, otherwise

    def near(self, row: Example, left_out: Collection[int] = ()) -> list[Mapping[str, Any]]:
        """The rows for the largest k, the nearest first."""
        return self.index.pick(row.inputs, max(KS), left_out)[::-1]

    def vote(self, near: Sequence[Mapping[str, Any]], k: int) -> Answer:
        """The answer of the first k."""
        if not near:
            return self.otherwise
        return {name: elect(kind, [row[name] for row in near[:k]]) for name, kind in self.kinds.items()}


def elect(kind: Kind, values: Sequence[Any]) -> Any:
    """One value of several, the nearest row's first."""
    if kind == "free":
        return values[0]
    return middle(values) if kind == "number" else commonest(values)
