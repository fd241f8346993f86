"""Intervals and tests for metrics of a whole split: a Bayesian bootstrap (Rubin 1981), and a permutation test.

Whole groups are weighted, or swapped between two prompts. As in promptstill/stats.py half a row right and half a row
wrong are added, shared by the labels as these are frequent: so thirty right answers of thirty have an interval that is
no point. And it is wider by as much as Student's t for these groups is wider than the normal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from promptstill.stats import PRIOR_ROWS, RESAMPLES, Gain, effective_groups, group_numbers, t_quantile
from promptstill.task.metrics.whole import Labels, Statistic, split_score

CHUNK = 1_000  # resamples at once
NORMAL = 1.959964  # 97.5 % of the normal distribution
LOWEST: dict[Statistic, float] = {"macro_f1": 0.0, "balanced_accuracy": 0.0, "matthews": -1.0}


def split_interval(labels: Sequence[Labels], seed: int, groups: Sequence[str]) -> tuple[float, float]:
    """The 95 % interval of the split's score."""
    table = CountTable.of(labels, groups)
    rows, added = table.counts(labels), np.concatenate(table.added())
    drawn = np.concatenate([table.score(one @ rows + few @ added) for one, few in table.weights(seed)])
    low, high = table.widened(drawn, split_score(labels))
    return max(low, table.lowest), min(high, 1.0)


def split_gain(labels: Sequence[Labels], others: Sequence[Labels], seed: int, groups: Sequence[str]) -> Gain:
    """How much higher the split's score is by `labels` than by `others` of the same rows."""
    table = CountTable.of(labels, groups)
    mine, theirs = table.counts(labels), table.counts(others)
    right, wrong = table.added()
    won, lost = np.concatenate([right, wrong]), np.concatenate([wrong, right])
    pairs = [
        table.score(one @ mine + few @ won) - table.score(one @ theirs + few @ lost) for one, few in table.weights(seed)
    ]
    drawn, gain, reach = np.concatenate(pairs), split_score(labels) - split_score(others), 1.0 - table.lowest
    low, high = table.widened(drawn, gain)
    n = len(labels)
    spread = float(drawn.std() * np.sqrt(n))
    p = swap_p_value(table, mine, theirs, seed)
    return Gain(gain, max(low, -reach), min(high, reach), p, n, effective_groups(groups, n), spread)


def swap_p_value(table: CountTable, mine: np.ndarray, theirs: np.ndarray, seed: int) -> float:
    """The two-sided p-value of no difference: the replies of whole groups are swapped between two prompts at random."""
    rng, change = np.random.default_rng(seed), theirs - mine
    first, second = mine.sum(axis=0), theirs.sum(axis=0)
    observed = abs(float(table.score(first) - table.score(second)))
    reached = 0
    for size in chunks():
        moved = (rng.random((size, len(mine))) < 0.5).astype(float) @ change
        reached += int((np.abs(table.score(first + moved) - table.score(second - moved)) >= observed - 1e-9).sum())
    return (reached + 1) / (RESAMPLES + 1)


def chunks() -> Iterator[int]:
    """The resamples in parts that fit the memory."""
    for start in range(0, RESAMPLES, CHUNK):
        yield min(CHUNK, RESAMPLES - start)


@dataclass(frozen=True)
class CountTable:
    """The rows of a split as counts, of which every such score is a function: for each label the right answers, the
    answers (last those of no class), and the rows.

    numbers: of each row's group. gold: of each row's label among `known`.
    """

    statistic: Statistic
    known: Sequence[str]
    gold: np.ndarray
    numbers: np.ndarray
    quantile: float

    @classmethod
    def of(cls, labels: Sequence[Labels], groups: Sequence[str]) -> CountTable:
        known, gold = np.unique([one.gold for one in labels], return_inverse=True)
        quantile = t_quantile(len(labels), groups)
        return cls(labels[0].statistic, list(map(str, known)), gold, group_numbers(groups), quantile)

    @property
    def lowest(self) -> float:
        return LOWEST[self.statistic]

    def counts(self, labels: Sequence[Labels]) -> np.ndarray:
        """The counts of each group, groups × counts."""
        place = {label: number for number, label in enumerate(self.known)}
        answers = np.array([place.get(one.answer, len(place)) if one.answer else len(place) for one in labels])
        found = np.zeros((self.numbers.max() + 1, 3 * len(place) + 1))
        np.add.at(found, self.numbers, self.to_counts(self.gold, answers))
        return found

    def to_counts(self, gold: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """The counts of each row, rows × counts."""
        size = len(self.known)
        truth, given = np.eye(size)[gold], np.eye(size + 1)[answers]
        return np.concatenate([truth * given[:, :size], given, truth], axis=1)

    def added(self) -> tuple[np.ndarray, np.ndarray]:
        """The counts of a right row of each label, and of a row of each that is wrong by no class."""
        every = np.arange(len(self.known))
        return self.to_counts(every, every), self.to_counts(every, np.full(len(every), len(every)))

    def weights(self, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Random weights of the groups, and of the added rows, right ones first; a chunk of resamples at a time."""
        rng, share = np.random.default_rng(seed), np.bincount(self.gold) / len(self.gold)
        for size in chunks():
            few = rng.standard_gamma(PRIOR_ROWS * np.tile(share, 2), size=(size, 2 * len(share)))
            yield rng.standard_exponential((size, self.numbers.max() + 1)), few

    def widened(self, drawn: np.ndarray, score: float) -> tuple[float, float]:
        """The 95 % interval of what was drawn, widened for few groups; the score itself lies in it."""
        low, middle, high = np.quantile(drawn, [0.025, 0.5, 0.975])
        wider = self.quantile / NORMAL
        return min(float(middle + wider * (low - middle)), score), max(float(middle + wider * (high - middle)), score)

    def score(self, counts: np.ndarray) -> np.ndarray:
        """The score of each set of counts (the last axis), as `split_score` has it."""
        size = len(self.known)
        right, given, rows = counts[..., :size], counts[..., size : 2 * size + 1], counts[..., 2 * size + 1 :]
        if self.statistic == "matthews":
            return correlation(right.sum(axis=-1), given, rows)
        parts = (
            2 * right / (rows + given[..., :size]).clip(1e-12)
            if self.statistic == "macro_f1"
            else right / rows.clip(1e-12)
        )
        there = rows > 0
        return np.asarray((parts * there).sum(axis=-1) / there.sum(axis=-1).clip(1))


def correlation(right: np.ndarray, given: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Matthews' correlation for several labels (Gorodkin 2004); 0 where it is not defined."""
    total = rows.sum(axis=-1)
    together = right * total - (given[..., : rows.shape[-1]] * rows).sum(axis=-1)
    spread = (total**2 - (given**2).sum(axis=-1)) * (total**2 - (rows**2).sum(axis=-1))
    return np.where(spread > 1e-9, together / np.sqrt(spread.clip(1e-9)), 0.0)
