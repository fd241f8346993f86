"""The score of a prompt on rows, and its difference to another's: the one place that makes an `Estimate` or a `Gain`.

Most metrics are means over rows (promptstill/stats.py); a metric of a whole split has its own interval and test
(promptstill/scoring/split_stats.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptstill.scoring.evaluate import ScoredRow
from promptstill.stats import Estimate, Gain, gain, mean_interval
from promptstill.task.metrics.whole import Labels, split_score


@dataclass(frozen=True)
class Marks:
    """What a prompt got on rows: their scores, what they are groups of, and their labels for a metric of a whole split;
    None for the labels of any other."""

    scores: Sequence[float]
    groups: Sequence[str]
    labels: Sequence[Labels] | None = None

    @classmethod
    def of(cls, results: Sequence[ScoredRow]) -> Marks:
        labels = [row.labels for row in results if row.labels]
        groups = [row.example.group for row in results]
        return cls([row.score for row in results], groups, labels if len(labels) == len(results) else None)


def estimate(marks: Marks, seed: int) -> Estimate:
    """The score with its 95 % interval; `seed` is of the bootstrap."""
    from promptstill.scoring.split_stats import split_interval

    if marks.labels is None:
        return mean_interval(marks.scores, seed, marks.groups)
    return Estimate(split_score(marks.labels), *split_interval(marks.labels, seed, marks.groups), len(marks.labels))


def difference(marks: Marks, others: Marks, seed: int) -> Gain:
    """How much higher `marks` score than `others` on the same rows in the same order; `seed` is of the tests."""
    from promptstill.scoring.split_stats import split_gain

    if marks.labels is None or others.labels is None:
        return gain(marks.scores, others.scores, seed, marks.groups)
    return split_gain(marks.labels, others.labels, seed, marks.groups)
