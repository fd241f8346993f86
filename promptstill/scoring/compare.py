"""The score of a prompt on rows, and its difference to another's: the one place that makes an `Estimate` or a `Gain`.

Most metrics are means over rows (promptstill/stats.py); a metric of a whole split has its own interval and test
(promptstill/scoring/split_stats.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptstill.scoring.evaluate import ScoredRow
from promptstill.stats import FOLDS_ERROR, Estimate, Gain, gain, mean_interval
from promptstill.task.metrics.whole import Labels, split_score


@dataclass(frozen=True)
class Marks:
    """What a prompt got on rows: their scores, what they are groups of, and their labels for a metric of a whole split;
    None for the labels of any other.

    folds: whether they are of several prompts, each on the fold that its search did not see.
    """

    scores: Sequence[float]
    groups: Sequence[str]
    labels: Sequence[Labels] | None = None
    folds: bool = False

    @classmethod
    def of(cls, results: Sequence[ScoredRow], *, folds: bool = False) -> Marks:
        labels = [row.labels for row in results if row.labels]
        groups = [row.example.group for row in results]
        return cls([row.score for row in results], groups, labels if len(labels) == len(results) else None, folds)


def estimate(marks: Marks, seed: int) -> Estimate:
    """The score with its 95 % interval; `seed` is of the bootstrap."""
    from promptstill.scoring.split_stats import split_interval

    if marks.labels is None:
        found = mean_interval(marks.scores, seed, marks.groups)
    else:
        bounds = split_interval(marks.labels, seed, marks.groups)
        found = Estimate(split_score(marks.labels), *bounds, len(marks.labels))
    return widen(found) if marks.folds else found


def difference(marks: Marks, others: Marks, seed: int) -> Gain:
    """How much higher `marks` score than `others` on the same rows in the same order; `seed` is of the tests."""
    from promptstill.scoring.split_stats import split_gain

    if marks.labels is None or others.labels is None:
        found = gain(marks.scores, others.scores, seed, marks.groups)
    else:
        found = split_gain(marks.labels, others.labels, seed, marks.groups)
    return doubt(found) if marks.folds or others.folds else found


def widen(found: Estimate) -> Estimate:
    """The estimate with the interval of a cross-validation."""
    low, high = widened(found.low, found.high)
    return replace(found, low=max(low, 0.0 if found.low >= 0 else -1.0), high=min(high, 1.0))


def doubt(found: Gain) -> Gain:
    """The gain with the interval and the p-value of a cross-validation."""
    from scipy.special import ndtr, ndtri

    low, high = widened(found.low, found.high)
    p = float(2 * ndtr(ndtri(found.p / 2) / FOLDS_ERROR))
    return replace(found, low=max(low, -1.0), high=min(high, 1.0), p=p, spread=FOLDS_ERROR * found.spread)


def widened(low: float, high: float) -> tuple[float, float]:
    """An interval, `FOLDS_ERROR` times as wide."""
    middle, half = (low + high) / 2, FOLDS_ERROR * (high - low) / 2
    return middle - half, middle + half
