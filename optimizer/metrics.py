"""Ready-made metrics: each is `f(example, prediction) -> float in [0, 1]`, higher is better.

A gold value may be a list of accepted answers, or `accepted` may name the row's field that holds such a list; the best
match counts. Text is normalized as SQuAD does (case, punctuation and articles dropped), by DSPy's functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from optimizer.fields import as_text

Metric = Callable[[Any, Any], float]
Comparison = Callable[[str, list[str]], float]


def exact_match(field: str, *, accepted: str | None = None) -> Metric:
    """1.0 where the normalized prediction equals a gold answer, else 0.0 (`dspy.evaluate.metrics.EM`)."""

    def compare(predicted: str, gold: list[str]) -> float:
        from dspy.evaluate.metrics import EM

        return float(EM(predicted, gold))

    return _against_gold("exact_match", field, accepted, compare)


def token_f1(field: str, *, accepted: str | None = None) -> Metric:
    """The best F1 of shared tokens over the gold answers (`dspy.evaluate.metrics.F1`, as in SQuAD)."""

    def compare(predicted: str, gold: list[str]) -> float:
        from dspy.evaluate.metrics import F1, normalize_text

        if not normalize_text(predicted):
            return 0.0
        return float(F1(predicted, gold))

    return _against_gold("token_f1", field, accepted, compare)


def contains(field: str, *, accepted: str | None = None) -> Metric:
    """1.0 where the normalized prediction holds a gold answer as a run of whole words, else 0.0."""

    def compare(predicted: str, gold: list[str]) -> float:
        from dspy.evaluate.metrics import normalize_text

        text = f" {normalize_text(predicted)} "
        wanted = [normalize_text(answer) for answer in gold]
        return float(any(answer and f" {answer} " in text for answer in wanted))

    return _against_gold("contains", field, accepted, compare)


def _against_gold(name: str, field: str, accepted: str | None, compare: Comparison) -> Metric:
    def metric(example: Any, prediction: Any, trace: object = None) -> float:
        gold = example.get(accepted) if accepted else None
        gold = example[field] if gold is None or gold == [] else gold
        answers = gold if isinstance(gold, list) else [gold]
        return compare(as_text(prediction[field]), [as_text(answer) for answer in answers])

    metric.__name__ = metric.__qualname__ = f"{name}({field})"
    return metric
