"""The rivals that need no model as contestants: fitted on train, chosen on dev, scored on test by the common scorer."""

from __future__ import annotations

from benchmarks.contest.tasks import RowScore, score_answer
from promptstill.task.open import OpenTask


def score_rival(opened: OpenTask, name: str) -> list[RowScore]:
    """A rival on the test rows. Raises `KeyError` where it cannot do this task."""
    from promptstill.scoring.rivals.measure import measure_rivals

    splits, task = opened.splits, opened.task
    found = measure_rivals(splits.train, splits.dev, splits.test, task.inputs, task.outputs, opened.recipe.metric)
    return [score_answer(opened, one.example, one.outputs) for one in found[name]]
