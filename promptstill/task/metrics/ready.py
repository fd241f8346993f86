"""Ready-made metrics of one row: `f(example, prediction) -> float`, from 0 to 1.

`accepted` names a field of the row that holds further accepted answers; the best match over the gold value and these
counts. Text is normalized as for SQuAD (case, punctuation and articles are dropped), by DSPy's functions. A value that
is a list is one answer: `exact_match`, `contains` and `set_f1` take it as a set of normalized items, `token_f1` as the
words of its text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from promptstill.prompt.fields import as_text

RowMetric = Callable[..., float]  # of an example and a prediction
Comparison = Callable[[Any, Any], float]  # of the predicted and one accepted value


def exact_match(field: str, *, accepted: str | None = None) -> RowMetric:
    """1.0 where the normalized prediction equals an accepted answer, else 0.0 (`dspy.evaluate.metrics.EM`).

    Lists are equal where they hold the same items, in whatever order and however often.
    """

    def compare(predicted: Any, gold: Any) -> float:
        from dspy.evaluate.metrics import EM

        if isinstance(gold, list) or isinstance(predicted, list):
            return float(to_items(predicted) == to_items(gold))
        return float(EM(as_text(predicted), [as_text(gold)]))

    return make_metric("exact_match", field, accepted, compare)


def token_f1(field: str, *, accepted: str | None = None) -> RowMetric:
    """F1 of shared words, the best over the accepted answers (`dspy.evaluate.metrics.F1`, as for SQuAD)."""

    def compare(predicted: Any, gold: Any) -> float:
        from dspy.evaluate.metrics import F1, normalize_text

        text = as_text(predicted)
        return float(F1(text, [as_text(gold)])) if normalize_text(text) else 0.0

    return make_metric("token_f1", field, accepted, compare)


def contains(field: str, *, accepted: str | None = None) -> RowMetric:
    """1.0 where the normalized prediction contains an accepted answer, in whole words, else 0.0.

    A list contains another that has none but its items.
    """

    def compare(predicted: Any, gold: Any) -> float:
        from dspy.evaluate.metrics import normalize_text

        if isinstance(gold, list) or isinstance(predicted, list):
            wanted, found = to_items(gold), to_items(predicted)
            return float(wanted <= found if wanted else not found)
        answer = normalize_text(as_text(gold))
        return float(bool(answer) and f" {answer} " in f" {normalize_text(as_text(predicted))} ")

    return make_metric("contains", field, accepted, compare)


def set_f1(field: str, *, accepted: str | None = None) -> RowMetric:
    """F1 of shared items, for an output that is a list; 1.0 where both lists are empty.

    Items are compared as `exact_match` compares texts; their order does not count, nor does an item that is repeated.
    """

    def compare(predicted: Any, gold: Any) -> float:
        wanted, found = to_items(gold), to_items(predicted)
        return 2 * len(wanted & found) / (len(wanted) + len(found)) if wanted or found else 1.0

    return make_metric("set_f1", field, accepted, compare)


def to_items(value: Any) -> set[str]:
    """The normalized items of a list; a value that is no list is an item itself, None is none."""
    from dspy.evaluate.metrics import normalize_text

    texts = [] if value is None else map(as_text, value if isinstance(value, list) else [value])
    # An item of articles or punctuation alone, such as "+", would else equal any other.
    return {normalize_text(text) or text.strip().casefold() for text in texts}


def make_metric(name: str, field: str, accepted: str | None, compare: Comparison) -> RowMetric:
    """The metric that compares a field; its attributes `field` and `accepted` say which."""

    def metric(example: Any, prediction: Any, trace: object = None) -> float:
        others = example.get(accepted) if accepted else None
        answers = [example[field], *(others if isinstance(others, list) else [] if others is None else [others])]
        return max(compare(prediction[field], answer) for answer in answers)

    metric.__name__ = metric.__qualname__ = f"{name}({field})"
    metric.field, metric.accepted = field, accepted  # type: ignore[attr-defined]  # a function takes any attribute
    return metric
