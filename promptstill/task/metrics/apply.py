"""The one place that calls a metric: its value is checked, and what it raises is reported with its row.

A metric returns a score; or `(score, feedback)`, or an object with `.score` and `.feedback`, such as a
`dspy.Prediction`, as the metrics of DSPy's GEPA do. The feedback is a text that says why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

from promptstill.endpoint.allowance import JUDGE, Allowance, LimitReached, Limits
from promptstill.errors import PromptstillError, ReplyError, UserError
from promptstill.task.examples import Example
from promptstill.task.metrics.whole import Labels, SplitMetric, split_score
from promptstill.task.recipe import Metric


@dataclass(frozen=True)
class MetricResult:
    """What a metric says of one prediction: a score from 0 to 1, and why, where it says that; labels: what a metric of
    a whole split needs of the row, None for any other."""

    score: float
    feedback: str = ""
    labels: Labels | None = None


def is_judge(metric: Metric) -> bool:
    """Whether the metric asks a model; its author then sets the function's attribute `judge` to True."""
    return bool(getattr(metric, "judge", False))


def refuse_unpriced_judge(limits: Limits, metric: Metric) -> None:
    """Refuse a limit of money that would not see what the metric's judge costs. Raises `UserError`."""
    if limits.usd is not None and is_judge(metric) and JUDGE not in limits.role_prices:
        raise UserError(
            "--max-usd needs the price of the judge too.",
            "The metric asks a model for its marks, and its calls count.",
            "Add --price judge=IN,OUT in USD per million tokens; judge=0,0 where it is free.",
        )


def within_limits(metric: Metric, allowance: Allowance) -> Metric:
    """The metric; where it is a judge, one that raises `LimitReached` once a limit is reached, before it asks."""
    if not is_judge(metric):
        return metric

    @wraps(metric)
    def judge_within_limits(example: Any, prediction: Any) -> object:
        allowance.reserve()
        allowance.release()
        return metric(example, prediction)

    return judge_within_limits


def metric_name(metric: Metric) -> str:
    """What messages call the metric."""
    return str(getattr(metric, "__name__", "metric"))


def apply_metric(metric: Metric, example: Example, outputs: Mapping[str, Any]) -> MetricResult:
    """The metric's result for one prediction. Raises `UserError` that names the metric and the row.

    What a judge raises is passed on: `ReplyError` for a reply without a mark, `LimitReached`, or a failed endpoint's.
    """
    import dspy

    name = metric_name(metric)
    gold = dspy.Example(**{**example.row, **example.outputs}).with_inputs(*example.inputs)
    try:
        value = metric(gold, dspy.Prediction(**outputs))
    except (PromptstillError, ReplyError, LimitReached):
        raise
    except Exception as error:  # it is the user's code: whatever it raises is reported with its row
        raise UserError(
            f"The metric {name} raised {type(error).__name__} on {example.location}: {error}",
            f"The prediction was {dict(outputs)}.",
            "Mend the metric; it must take any prediction of the signature.",
        ) from error
    score, feedback = split_value(value)
    is_score = isinstance(score, bool | int | float) and math.isfinite(score) and 0 <= score <= 1
    if is_score and (feedback is None or isinstance(feedback, str)):
        return MetricResult(float(score), feedback or "", find_labels(metric, example, outputs))
    raise UserError(
        f"The metric {name} returned {value!r} on {example.location}.",
        "",
        "A metric returns a number from 0 to 1, higher is better; or such a number and a text: (score, feedback).",
    )


def find_labels(metric: Metric, example: Example, outputs: Mapping[str, Any] | None) -> Labels | None:
    """The row's labels for a metric of a whole split; None for any other. outputs: None for an unusable reply."""
    return metric.labels(example, outputs) if isinstance(metric, SplitMetric) else None


def overall_score(results: Sequence[MetricResult]) -> float:
    """The score of a split, from the results of its rows: their mean, or that of a metric of a whole split."""
    if labels := [one.labels for one in results if one.labels]:
        return split_score(labels)
    return sum(one.score for one in results) / len(results)


def split_value(value: Any) -> tuple[Any, Any]:
    """What a metric returned as score and feedback; None for the feedback where there is none."""
    if isinstance(value, tuple) and len(value) == 2:
        return value
    if isinstance(value, int | float) or not hasattr(value, "score"):
        return value, None
    return value.score, getattr(value, "feedback", None)
