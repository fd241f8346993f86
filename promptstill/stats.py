"""Intervals and tests for the scores of rows, from 0 to 1; paired where two prompts answered the same rows.

Often there are few rows, or all of them have the same score. A percentile or BCa bootstrap then promises too much: with
thirty right answers of thirty there is no spread to resample, and its interval is a point. So both intervals here add
half a row at each end of the scale. `python -m benchmarks honesty` measures how often they cover the truth.

Rows of one group (the recipe's `group`: a passage, a customer) tend to be right or wrong together, so n of them tell
less than n independent rows. Where `groups` are given, n is divided by the design effect (Kish 1965). Its variance is
that of the cluster jackknife (CV3: MacKinnon, Nielsen & Webb 2023), and Student's t has Satterthwaite's degrees of
freedom for it (Bell & McCaffrey 2002; Imbens & Kolesár 2016; Pustejovsky & Tipton 2018). With groups of unequal size
the plain cluster-robust variance is too small, and one less than there are groups is too many degrees of freedom.

Whether a gain holds is said in one place, `Gain.holds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 9_999
Numbers = float | np.ndarray  # one sample's figure, or one for each of many
Groups = Sequence[str] | None  # the group of each row; None: all rows are independent
PRIOR_ROWS = 0.5  # rows added at each end of the scale: Jeffreys' prior, where scores are 0 or 1
ALPHA = 0.05
MIN_GROUPS = 5  # effective groups; from fewer no variance can be told, so that nothing is claimed
# The searches of a cross-validation share most of their rows, so its error is larger than that of independent rows; it
# has no unbiased estimate (Bengio & Grandvalet 2004). In simulations it is 1.0 to 1.4 times as large
# (`python -m benchmarks honesty`).
FOLDS_ERROR = 1.25


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, over `n` rows."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Gain:
    """The mean of `n` paired differences with its 95 % interval, and the two-sided p-value of no difference.

    groups: the effective number of groups (`effective_groups`); None: every row is a group of its own. spread: the
    standard deviation that independent differences would need for the same uncertainty; at least that of the rows.
    """

    mean: float
    low: float
    high: float
    p: float
    n: int
    groups: float | None = None
    spread: float = 0.0

    @property
    def enough_groups(self) -> bool:
        """Whether there are enough effective groups to claim anything."""
        return self.worth >= MIN_GROUPS

    @property
    def worth(self) -> float:
        """The effective number of groups, or of rows where every row is a group of its own."""
        return self.n if self.groups is None else self.groups

    def corrected_p(self, times: int = 1) -> float:
        """The p-value by the Bonferroni correction; times: how many winners were evaluated on these rows."""
        return min(1.0, times * self.p)

    def differs(self, times: int = 1) -> bool:
        """Whether there is a difference beyond doubt, up or down: by interval, corrected p-value and groups."""
        return (self.low > 0 or self.high < 0) and self.corrected_p(times) <= ALPHA and self.enough_groups

    def holds(self, times: int = 1) -> bool:
        """Whether there is a gain beyond doubt; only then is the winner shipped. times: see `corrected_p`."""
        return self.low > 0 and self.differs(times)

    @property
    def clear(self) -> bool:
        """Whether the gain holds where its rows were used once."""
        return self.holds()


def mean_interval(scores: Sequence[float], seed: int, groups: Groups = None) -> Estimate:
    """The mean of scores with its interval; `seed` is of the bootstrap."""
    values = np.asarray(scores, dtype=float)
    return Estimate(float(values.mean()), *score_interval(values, seed, groups), len(values))


def gain(candidate: Sequence[float], reference: Sequence[float], seed: int, groups: Groups = None) -> Gain:
    """How much higher `candidate` scores than `reference` on the same rows; `seed` is of the permutation test."""
    difference = np.asarray(candidate, dtype=float) - np.asarray(reference, dtype=float)
    low, high = gain_interval(difference, groups)
    p, spread = sign_flip_p_value(difference, seed, groups), effective_spread(difference, groups)
    return Gain(
        float(difference.mean()), low, high, p, len(difference), effective_groups(groups, len(difference)), spread
    )


def effective_groups(groups: Groups, n: int) -> float:
    """How many groups of equal size tell as much as those of n rows: (sum of sizes)² / sum of squared sizes (Kish 1965;
    Carter, Schnepel & Steigerwald 2017, where rows of a group are alike). Without groups every row is one."""
    if groups is None:
        return float(n)
    sizes = np.bincount(group_numbers(groups))
    return float(n**2 / (sizes @ sizes))


def effective_spread(difference: np.ndarray, groups: Groups) -> float:
    """See `Gain.spread`."""
    return float(np.sqrt(difference.var() * design_effect(difference, groups)))


def design_effect(values: np.ndarray, groups: Groups) -> float:
    """The variance of the mean, divided by what it would be for as many independent rows; at least 1.

    The variance is the cluster jackknife's: of the means that leave out one group each. Rows that are all of one group
    count as one row.
    """
    n = len(values)
    if groups is None or len(numbers := group_numbers(groups)) == (sizes := np.bincount(numbers)).size:
        return 1.0
    if sizes.size == 1:
        return float(n)
    deviations = values - values.mean()
    moved = np.bincount(numbers, weights=deviations) / (n - sizes)  # how far the mean moves without each group
    variance = float(moved @ moved) * (1 - 1 / sizes.size)
    independent = float(deviations @ deviations) / (n * (n - 1))
    return max(variance / independent, 1.0) if independent else 1.0


def degrees_of_freedom(n: int, groups: Groups) -> float:
    """Satterthwaite's degrees of freedom of that variance, at least 1, for rows that are independent in truth.

    One less than there are groups where these have one size; without groups, than there are rows.
    """
    sizes = np.ones(n) if groups is None else np.bincount(group_numbers(groups))
    if sizes.size in (1, n):
        return max(sizes.size - 1.0, 1.0)
    odds = sizes / (n - sizes)
    squares = odds**2
    return max(float(odds.sum() ** 2 / (squares.sum() + squares.sum() ** 2 - squares @ squares)), 1.0)


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
    uncertain = (t_quantile(len(scores), groups) / t_quantile(len(scores))) ** 2
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
    square, ties = float(np.mean(difference**2)), float(np.mean(difference == 0))
    added = square / (1 - ties) if square > 0 else 1.0
    n, quantile = len(difference) / design_effect(difference, groups), t_quantile(len(difference), groups)
    mean, half = t_interval(difference.mean(), square, n, quantile, added)
    return max(float(mean - half), -1.0), min(float(mean + half), 1.0)


def t_interval(
    mean: Numbers, square: Numbers, n: float, quantile: float, added: float = 1.0
) -> tuple[Numbers, Numbers]:
    """The middle of that interval and half its width, for one or many samples of `n` independent rows.

    mean, square: of the differences, and of their squares. quantile: Student's. added: the square of the added rows'.
    """
    rows = n + 2 * PRIOR_ROWS
    middle = n * mean / rows
    return middle, quantile * np.sqrt(((n * square + 2 * PRIOR_ROWS * added) / rows - middle**2) / rows)


def t_quantile(n: int, groups: Groups = None) -> float:
    """Student's t at 97.5 %."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom(n, groups), 0.975))


def sign_flip_p_value(difference: np.ndarray, seed: int, groups: Groups = None) -> float:
    """The two-sided p-value of no difference: a permutation test that flips the signs of whole groups.

    Exact where the sums of the groups are whole numbers, as for answers that are right or wrong, or where there are few
    of them; else on `RESAMPLES` random flips, with the one that was seen (Phipson & Smyth 2010).
    """
    sums = difference if groups is None else np.bincount(group_numbers(groups), weights=difference)
    if len(sums) == 1 or not (sums := sums[sums != 0]).size:
        return 1.0
    if np.array_equal(sums, np.rint(sums)):
        return exact_p_value(np.abs(sums).astype(int), abs(int(sums.sum())))
    every = 2**sums.size <= RESAMPLES
    ways = (
        every_way(sums.size) if every else np.random.default_rng(seed).integers(0, 2, (RESAMPLES, sums.size), np.int8)
    )
    least = abs(sums.sum()) - 1e-9 * np.abs(sums).sum()  # sums of the same numbers in another order may differ a little
    above = int(np.sum((2 * ways - 1) @ sums >= least))
    return min(1.0, 2 * (above if every else above + 1) / (len(ways) if every else len(ways) + 1))


def every_way(n: int) -> np.ndarray:
    """Each row is one of the ways to set n bits. Returns (2^n, n)."""
    return np.asarray((np.arange(2**n)[:, None] >> np.arange(n)) & 1)


def exact_p_value(steps: np.ndarray, total: int) -> float:
    """The chance that these whole numbers, each with a random sign, add up to `total` or more, up or down."""
    at = np.ones(1)  # the chance of each sum, counted in steps of two from the lowest
    for step in steps:
        at = np.pad(at, (0, step)) / 2 + np.pad(at, (step, 0)) / 2
    return min(1.0, 2 * float(at[(total + int(steps.sum()) + 1) // 2 :].sum()))


def detectable_gain(n: int, spread: float = 0.45) -> float:
    """The smallest paired gain that `n` rows can tell from noise: 1.96 standard errors.

    spread: the standard deviation of the differences; 0.45 where two prompts disagree (1 or 0) on a fifth of the rows.
    """
    return 1.96 * spread / float(np.sqrt(n))
