"""The one place that calls a metric: its value is checked, and what it raises is reported with its row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from promptstill.errors import PromptstillError, ReplyError, UserError
from promptstill.task.examples import Example
from promptstill.task.recipe import Metric


def is_judge(metric: Metric) -> bool:
    """Whether the metric asks a model; its author then sets the function's attribute `judge` to True."""
    return bool(getattr(metric, "judge", False))


def metric_name(metric: Metric) -> str:
    """What messages call the metric."""
    return str(getattr(metric, "__name__", "metric"))


def apply_metric(metric: Metric, example: Example, outputs: Mapping[str, Any]) -> float:
    """The metric's value for one prediction, from 0 to 1. Raises `UserError` that names the metric and the row.

    What a judge raises is passed on: `ReplyError` for a reply without a mark, or what its endpoint failed with.
    """
    import dspy

    name = metric_name(metric)
    gold = dspy.Example(**{**example.row, **example.outputs}).with_inputs(*example.inputs)
    try:
        score = metric(gold, dspy.Prediction(**outputs))
    except (PromptstillError, ReplyError):
        raise
    except Exception as error:  # it is the user's code: whatever it raises is reported with its row
        raise UserError(
            f"The metric {name} raised {type(error).__name__} on {example.location}: {error}",
            f"The prediction was {dict(outputs)}.",
            "Mend the metric; it must take any prediction of the signature.",
        ) from error
    if isinstance(score, bool | int | float) and math.isfinite(score) and 0 <= score <= 1:
        return float(score)
    raise UserError(
        f"The metric {name} returned {score!r} on {example.location}.",
        "",
        "A metric returns a number from 0 to 1, higher is better.",
    )
