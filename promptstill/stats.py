"""Intervals and tests for the scores of rows, from 0 to 1; paired where two prompts answered the same rows.

Often there are few rows, or all of them have the same score. A percentile or BCa bootstrap then promises too much: with
thirty right answers of thirty there is no spread to resample, and its interval is a point. So both intervals here add
half a row at each end of the scale. `python -m benchmarks honesty` measures how often they cover the truth.

Rows of one group (the recipe's `group`: a passage, a customer) tend to be right or wrong together, so n of them tell
less than n independent rows. Where `groups` are given, n is divided by the design effect (Kish 1965).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 9_999
Groups = Sequence[str] | None  # the group of each row; None: all rows are independent
PRIOR_ROWS = 0.5  # rows added at each end of the scale: Jeffreys' prior, where scores are 0 or 1


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, over `n` rows."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Gain:
    """The mean of `n` paired differences with its 95 % interval, and the two-sided p-value of no difference."""

    mean: float
    low: float
    high: float
    p: float
    n: int

    @property
    def clear(self) -> bool:
        """Whether the whole interval lies above zero; only then is the winner shipped."""
        return self.low > 0


def mean_interval(scores: Sequence[float], seed: int, groups: Groups = None) -> Estimate:
    """The mean of scores with its interval; `seed` is of the bootstrap."""
    values = np.asarray(scores, dtype=float)
    return Estimate(float(values.mean()), *score_interval(values, seed, groups), len(values))


def gain(candidate: Sequence[float], reference: Sequence[float], seed: int, groups: Groups = None) -> Gain:
    """How much higher `candidate` scores than `reference` on the same rows; `seed` is of the permutation test."""
    difference = np.asarray(candidate, dtype=float) - np.asarray(reference, dtype=float)
    low, high = gain_interval(difference, groups)
    return Gain(float(difference.mean()), low, high, sign_flip_p_value(difference, seed, groups), len(difference))


def design_effect(values: np.ndarray, groups: Groups) -> float:
    """The variance of the mean, divided by what it would be for as many independent rows; at least 1.

    It is computed from the sums of deviations in each group, as in a cluster-robust standard error. Rows that are all
    of one group count as one row.
    """
    if groups is None:
        return 1.0
    numbers, n = group_numbers(groups), len(values)
    count = int(numbers.max()) + 1
    if count == 1:
        return float(n)
    deviations = values - values.mean()
    sums = np.bincount(numbers, weights=deviations)
    independent = float(deviations @ deviations) * n / (n - 1)
    return max(float(sums @ sums) * count / (count - 1) / independent, 1.0) if independent else 1.0


def group_numbers(groups: Sequence[str]) -> np.ndarray:
    """The number of each row's group, from 0."""
    return np.unique(np.asarray(groups, dtype=object), return_inverse=True)[1]


def score_interval(scores: np.ndarray, seed: int, groups: Groups = None) -> tuple[float, float]:
    """The 95 % interval of the mean: Bayesian bootstrap (Rubin 1981), with half a row of 0 and half a row of 1 added.

    For scores that are 0 or 1 it is the Jeffreys interval (Brown, Cai & DasGupta 2001). Equal scores share one weight.
    """
    values, counts = np.unique(np.concatenate([[0.0, 1.0], scores]), return_counts=True)
    ends = (values == 0) | (values == 1)
    # With few groups their spread is itself uncertain, by as much as Student's t is wider for groups than for rows.
    uncertain = (t_quantile(scores, groups) / t_quantile(scores)) ** 2
    rows = (counts - ends) / (design_effect(scores, groups) * uncertain) + ends * PRIOR_ROWS
    weights = np.random.default_rng(seed).standard_gamma(rows, size=(RESAMPLES, len(rows)))
    low, high = np.quantile(weights @ values / weights.sum(axis=1), [0.025, 0.975])
    mean = float(scores.mean())
    return min(float(low), mean), max(float(high), mean)


def gain_interval(difference: np.ndarray, groups: Groups = None) -> tuple[float, float]:
    """The 95 % interval of the mean paired difference: Student's t, with half a row won and half a row lost added.

    With a whole row each it would be Bonett & Price's interval (2012) for answers that are right or wrong. The added
    rows differ by the root mean square of the differences that are not zero, or by 1 where all are zero.
    """
    n, ties = len(difference) / design_effect(difference, groups), float(np.mean(difference == 0))
    square = float(np.mean(difference**2))
    added = square / (1 - ties) if square > 0 else 1.0
    rows = n + 2 * PRIOR_ROWS
    mean = n * float(difference.mean()) / rows
    error = float(np.sqrt(((n * square + 2 * PRIOR_ROWS * added) / rows - mean**2) / rows))
    half = t_quantile(difference, groups) * error
    return max(mean - half, -1.0), min(mean + half, 1.0)


def t_quantile(values: np.ndarray, groups: Groups = None) -> float:
    """Student's t at 97.5 %, with one degree of freedom less than there are groups or, without them, rows."""
    from scipy.special import stdtrit

    return float(stdtrit(max(len(values if groups is None else set(groups)) - 1, 1), 0.975))


def sign_flip_p_value(difference: np.ndarray, seed: int, groups: Groups = None) -> float:
    """The two-sided p-value of no difference: a permutation test that flips the signs of whole groups at random."""
    sums = difference if groups is None else np.bincount(group_numbers(groups), weights=difference)
    if not sums.any() or len(sums) == 1:
        return 1.0
    from scipy.stats import permutation_test

    test = permutation_test(
        (sums,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=np.random.default_rng(seed)
    )
    return float(test.pvalue)


def detectable_gain(n: int, spread: float = 0.45) -> float:
    """The smallest paired gain that `n` rows can tell from noise: 1.96 standard errors.

    spread: the standard deviation of the differences; 0.45 where two prompts disagree (1 or 0) on a fifth of the rows.
    """
    return 1.96 * spread / float(np.sqrt(n))
