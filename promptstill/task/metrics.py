"""Ready-made metrics, and the one place that calls a metric.

A metric is `f(example, prediction) -> float`, from 0 to 1, higher is better; other values, and exceptions, are refused.
A gold value may be a list of accepted answers, or `accepted` may name the row's field that holds such a list; the best
match counts. Where the prediction is a list itself, a gold list is one answer. Text is normalized as for SQuAD (case,
punctuation and articles are dropped), by DSPy's functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from promptstill.errors import PromptstillError, ReplyError, UserError
from promptstill.prompt.fields import as_text
from promptstill.task.examples import Example
from promptstill.task.recipe import Metric

Comparison = Callable[[str, list[str]], float]


def exact_match(field: str, *, accepted: str | None = None) -> Metric:
    """1.0 where the normalized prediction equals an accepted answer, else 0.0 (`dspy.evaluate.metrics.EM`)."""

    def compare(predicted: str, gold: list[str]) -> float:
        from dspy.evaluate.metrics import EM

        return float(EM(predicted, gold))

    return _compare_with_gold("exact_match", field, accepted, compare)


def token_f1(field: str, *, accepted: str | None = None) -> Metric:
    """F1 of shared words, the best over the accepted answers (`dspy.evaluate.metrics.F1`, as for SQuAD)."""

    def compare(predicted: str, gold: list[str]) -> float:
        from dspy.evaluate.metrics import F1, normalize_text

        if not normalize_text(predicted):
            return 0.0
        return float(F1(predicted, gold))

    return _compare_with_gold("token_f1", field, accepted, compare)


def contains(field: str, *, accepted: str | None = None) -> Metric:
    """1.0 where the normalized prediction contains an accepted answer, in whole words, else 0.0."""

    def compare(predicted: str, gold: list[str]) -> float:
        from dspy.evaluate.metrics import normalize_text

        text = f" {normalize_text(predicted)} "
        answers = [normalize_text(answer) for answer in gold]
        return float(any(answer and f" {answer} " in text for answer in answers))

    return _compare_with_gold("contains", field, accepted, compare)


def _compare_with_gold(name: str, field: str, accepted: str | None, compare: Comparison) -> Metric:
    def metric(example: Any, prediction: Any, trace: object = None) -> float:
        predicted = prediction[field]
        answers = _accepted_answers(example, predicted, field, accepted)
        return compare(as_text(predicted), [as_text(answer) for answer in answers])

    metric.__name__ = metric.__qualname__ = f"{name}({field})"
    return metric


def _accepted_answers(example: Any, predicted: Any, field: str, accepted: str | None) -> list[Any]:
    answers = example.get(accepted) if accepted else None
    if answers is None or answers == []:
        answers = example[field]
        if answers == [] or isinstance(predicted, list):
            return [answers]
    return answers if isinstance(answers, list) else [answers]


def is_judge(metric: Metric) -> bool:
    """Whether the metric asks a model; its author then sets the function's attribute `judge` to True."""
    return bool(getattr(metric, "judge", False))


def apply_metric(metric: Metric, example: Example, outputs: Mapping[str, Any]) -> float:
    """The metric's value for one prediction, from 0 to 1. Raises `UserError` that names the metric and the row.

    What a judge raises is passed on: `ReplyError` for a reply without a mark, or what its endpoint failed with.
    """
    import dspy

    name = getattr(metric, "__name__", "metric")
    typed = {key: value for key, value in example.outputs.items() if not isinstance(example.row.get(key), list)}
    gold = dspy.Example(**{**example.row, **typed}).with_inputs(*example.inputs)
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
