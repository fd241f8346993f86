"""Intervals and tests on per-example scores from 0 to 1; paired wherever two prompts answered the same rows.

Few rows, and rows that all say the same, are the rule here. A percentile or BCa bootstrap then promises too much:
thirty right answers of thirty have no spread to resample, and its interval is a point. So both intervals weigh in what
the rows did not show, as half a row at either end. `python -m benchmarks honesty` measures how often they cover the
truth.

Rows of one group (the recipe's `group`: a passage, a customer) tend to be right or wrong together, so n of them tell
less than n rows that stand alone. Where `groups` are given, n is divided by the design effect (Kish 1965).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 9_999
Groups = Sequence[str] | None  # a row's group by row; None: every row stands alone
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


def estimate(scores: Sequence[float], seed: int, groups: Groups = None) -> Estimate:
    """The mean of scores from 0 to 1, with its interval."""
    values = np.asarray(scores, dtype=float)
    return Estimate(float(values.mean()), *score_interval(values, seed, groups), len(values))


def gain(candidate: Sequence[float], reference: Sequence[float], seed: int, groups: Groups = None) -> Gain:
    """How much better `candidate` is on the same rows: paired interval, and p of the sign-flip permutation test."""
    difference = np.asarray(candidate, dtype=float) - np.asarray(reference, dtype=float)
    low, high = gain_interval(difference, groups)
    return Gain(float(difference.mean()), low, high, sign_flip(difference, seed, groups), len(difference))


def design_effect(values: np.ndarray, groups: Groups) -> float:
    """How many times the variance of the mean is what as many rows that stand alone would give; at least 1.

    By the groups' sums of deviations, as a cluster-robust standard error has it. Of one group all rows count as one.
    """
    if groups is None:
        return 1.0
    label, n = labels(groups), len(values)
    count = int(label.max()) + 1
    if count == 1:
        return float(n)
    deviations = values - values.mean()
    sums = np.bincount(label, weights=deviations)
    alone = float(deviations @ deviations) * n / (n - 1)
    return max(float(sums @ sums) * count / (count - 1) / alone, 1.0) if alone else 1.0


def labels(groups: Sequence[str]) -> np.ndarray:
    """The groups numbered from 0, by row."""
    return np.unique(np.asarray(groups, dtype=object), return_inverse=True)[1]


def score_interval(scores: np.ndarray, seed: int, groups: Groups = None) -> tuple[float, float]:
    """The 95 % interval of the mean: Bayesian bootstrap (Rubin 1981) with half a row of 0 and half a row of 1 added.

    For scores that are 0 or 1 it is the Jeffreys interval (Brown, Cai & DasGupta 2001). Equal scores share one weight.
    """
    values, counts = np.unique(np.concatenate([[0.0, 1.0], scores]), return_counts=True)
    ends = (values == 0) | (values == 1)
    # The spread of few groups is itself uncertain: what Student's t adds for groups over what it adds for rows.
    uncertain = (t_quantile(scores, groups) / t_quantile(scores)) ** 2
    rows = (counts - ends) / (design_effect(scores, groups) * uncertain) + ends * UNSEEN
    weights = np.random.default_rng(seed).standard_gamma(rows, size=(RESAMPLES, len(rows)))
    low, high = np.quantile(weights @ values / weights.sum(axis=1), [0.025, 0.975])
    mean = float(scores.mean())
    return min(float(low), mean), max(float(high), mean)


def gain_interval(difference: np.ndarray, groups: Groups = None) -> tuple[float, float]:
    """The 95 % interval of a mean paired difference: Student's t, with half a row won and half a row lost added.

    A whole row each is Bonett & Price's (2012) interval for answers that are right or wrong. The added rows differ as
    much as those that differ do (root mean square), and by 1 where none does.
    """
    n, ties = len(difference) / design_effect(difference, groups), float(np.mean(difference == 0))
    square = float(np.mean(difference**2))
    unseen = square / (1 - ties) if square > 0 else 1.0
    rows = n + 2 * UNSEEN
    mean = n * float(difference.mean()) / rows
    error = float(np.sqrt(((n * square + 2 * UNSEEN * unseen) / rows - mean**2) / rows))
    half = t_quantile(difference, groups) * error
    return max(mean - half, -1.0), min(mean + half, 1.0)


def t_quantile(values: np.ndarray, groups: Groups = None) -> float:
    """Student's t at 97.5 %, with a degree of freedom less than there are groups, or rows that stand alone."""
    return float(stats.t.ppf(0.975, max(len(values if groups is None else set(groups)) - 1, 1)))


def sign_flip(difference: np.ndarray, seed: int, groups: Groups = None) -> float:
    """The two-sided p-value of no difference, by flipping signs of paired differences at random, group by group."""
    sums = difference if groups is None else np.bincount(labels(groups), weights=difference)
    if not sums.any() or len(sums) == 1:
        return 1.0
    test = stats.permutation_test(
        (sums,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=np.random.default_rng(seed)
    )
    return float(test.pvalue)


def visible_gain(n: int, spread: float = 0.45) -> float:
    """The smallest paired gain that `n` rows can tell from noise: 1.96 standard errors, for differences of this spread.

    0.45 is the standard deviation when two prompts disagree outright on a fifth of the rows.
    """
    return 1.96 * spread / float(np.sqrt(n))
