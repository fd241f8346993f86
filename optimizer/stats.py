"""Intervals and tests on per-example scores from 0 to 1; paired wherever two prompts answered the same rows.

Few rows, and rows that all say the same, are the rule here. A percentile or BCa bootstrap then promises too much:
thirty right answers of thirty have no spread to resample, and its interval is a point. So both intervals weigh in what
the rows did not show, as half a row at either end. `python -m benchmarks honesty` measures how often they cover the
truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 9_999
UNSEEN = 0.5  # rows at each end that are added to those seen: Jeffreys' prior, where scores are 0 or 1


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, over `n` rows."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Gain:
    """A paired difference of means with its 95 % interval, and the two-sided p-value of no difference."""

    mean: float
    low: float
    high: float
    p: float
    n: int

    @property
    def clear(self) -> bool:
        """Whether the whole interval lies above zero: the gain that a prompt is shipped for."""
        return self.low > 0


def estimate(scores: Sequence[float], seed: int) -> Estimate:
    """The mean of scores from 0 to 1, with its interval."""
    values = np.asarray(scores, dtype=float)
    return Estimate(float(values.mean()), *score_interval(values, seed), len(values))


def gain(candidate: Sequence[float], reference: Sequence[float], seed: int) -> Gain:
    """How much better `candidate` is on the same rows: paired interval, and p of the sign-flip permutation test."""
    difference = np.asarray(candidate, dtype=float) - np.asarray(reference, dtype=float)
    low, high = gain_interval(difference)
    return Gain(float(difference.mean()), low, high, sign_flip(difference, seed), len(difference))


def score_interval(scores: np.ndarray, seed: int) -> tuple[float, float]:
    """The 95 % interval of the mean: Bayesian bootstrap (Rubin 1981) with half a row of 0 and half a row of 1 added.

    For scores that are 0 or 1 it is the Jeffreys interval (Brown, Cai & DasGupta 2001). Equal scores share one weight.
    """
    values, counts = np.unique(np.concatenate([[0.0, 1.0], scores]), return_counts=True)
    rows = np.where((values == 0) | (values == 1), counts - 1 + UNSEEN, counts)
    weights = np.random.default_rng(seed).standard_gamma(rows, size=(RESAMPLES, len(rows)))
    low, high = np.quantile(weights @ values / weights.sum(axis=1), [0.025, 0.975])
    mean = float(scores.mean())
    return min(float(low), mean), max(float(high), mean)


def gain_interval(difference: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a mean paired difference: Student's t, with half a row won and half a row lost added.

    A whole row each is Bonett & Price's (2012) interval for answers that are right or wrong. The added rows differ as
    much as those that differ do (root mean square), and by 1 where none does.
    """
    n, ties = len(difference), float(np.mean(difference == 0))
    square = float(np.mean(difference**2))
    unseen = square / (1 - ties) if square > 0 else 1.0
    rows = n + 2 * UNSEEN
    mean = float(difference.sum()) / rows
    error = np.sqrt(((n * square + 2 * UNSEEN * unseen) / rows - mean**2) / rows)
    half = float(stats.t.ppf(0.975, max(n - 1, 1)) * error)
    return max(mean - half, -1.0), min(mean + half, 1.0)


def sign_flip(difference: np.ndarray, seed: int) -> float:
    """The two-sided p-value of no difference, by flipping signs of paired differences at random."""
    if not difference.any() or len(difference) == 1:
        return 1.0
    test = stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=np.random.default_rng(seed)
    )
    return float(test.pvalue)


def visible_gain(n: int, spread: float = 0.45) -> float:
    """The smallest paired gain that `n` rows can tell from noise: 1.96 standard errors, for differences of this spread.

    0.45 is the standard deviation when two prompts disagree outright on a fifth of the rows.
    """
    return 1.96 * spread / float(np.sqrt(n))
