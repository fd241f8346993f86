"""The same answer to every row: of each output the commonest value in train, of numbers the median.

Text that is no label has its commonest value too: where no value repeats, that is the first row's.
"""

from __future__ import annotations

from promptstill.scoring.rivals.kinds import commonest, middle
from promptstill.scoring.rivals.task import Answer, FittedRival, RivalTask


def fit(task: RivalTask) -> FittedRival:
    """There is nothing to choose."""
    answer = constant_answer(task)
    return FittedRival(lambda rows: [answer for _ in rows], {})


def constant_answer(task: RivalTask) -> Answer:
    """The one answer."""
    values = {name: [row.outputs[name] for row in task.train] for name in task.kinds}
    return {
        name: middle(values[name]) if kind == "number" else commonest(values[name]) for name, kind in task.kinds.items()
    }
