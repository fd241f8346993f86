"""The rivals on test: each learns from train, chooses on dev, answers test, and is scored as a prompt is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptstill.endpoint.store import Completion
from promptstill.files import canonical_json
from promptstill.prompt.fields import Field, as_text
from promptstill.scoring.answer import ModelAnswer
from promptstill.scoring.evaluate import ScoredRow, to_scored_row
from promptstill.scoring.rivals import RIVALS
from promptstill.scoring.rivals.task import Answer, FittedRival, RivalTask
from promptstill.task.examples import Example
from promptstill.task.metrics import apply_metric
from promptstill.task.recipe import Metric


def measure_rivals(
    train: Sequence[Example],
    dev: Sequence[Example],
    test: Sequence[Example],
    inputs: Sequence[Field],
    outputs: Sequence[Field],
    metric: Metric,
    vectors: Mapping[str, Sequence[float]] | None = None,
) -> dict[str, list[ScoredRow]]:
    """The results on test by rival, in the order of RIVALS. A row costs no token and no second.

    dev: may be the rows of train; settings are then chosen inside train. vectors: as in `RivalTask`. Rivals that find
    nothing to learn are left out. The metric must ask no model. Raises `UserError` where it fails on an answer.
    """
    task = RivalTask(train, dev, inputs, outputs, metric, vectors)
    return {name: score_rival(rival, test, metric) for name, rival in fit_rivals(task).items()}


def fit_rivals(task: RivalTask) -> dict[str, FittedRival]:
    """The rivals that have something to learn, in the order of RIVALS."""
    fitted = {name: fit(task) for name, fit in RIVALS.items()}
    return {name: rival for name, rival in fitted.items() if rival}


def score_rival(rival: FittedRival, rows: Sequence[Example], metric: Metric) -> list[ScoredRow]:
    """A rival's results on rows, in their order."""
    return [score_outputs(row, answer, metric) for row, answer in zip(rows, rival.answer(rows), strict=True)]


def score_outputs(row: Example, outputs: Answer, metric: Metric) -> ScoredRow:
    """The result of a row whose answer cost nothing."""
    text = as_text(next(iter(outputs.values()))) if len(outputs) == 1 else canonical_json(outputs)
    given = ModelAnswer(Completion(text, "stop", 0, 0, 0, 0.0), outputs)
    return to_scored_row(row, given, apply_metric(metric, row, outputs))
