"""Intervals and tests on per-example scores; paired wherever two prompts answered the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 9_999


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


def estimate(scores: Sequence[float], seed: int) -> Estimate:
    """The mean with a bootstrap interval (BCa; Efron 1987, by scipy)."""
    mean = float(np.mean(scores))
    low, high = interval(np.asarray(scores, dtype=float), seed)
    return Estimate(mean, low, high, len(scores))


def gain(candidate: Sequence[float], reference: Sequence[float], seed: int) -> Gain:
    """How much better `candidate` is on the same rows: bootstrap interval and sign-flip permutation test, paired."""
    difference = np.asarray(candidate, dtype=float) - np.asarray(reference, dtype=float)
    mean = float(difference.mean())
    if not difference.any():
        return Gain(0.0, 0.0, 0.0, 1.0, len(difference))
    low, high = interval(difference, seed)
    test = stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=np.random.default_rng(seed)
    )
    return Gain(mean, low, high, float(test.pvalue), len(difference))


def interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """The 95 % interval of the mean. Equal values have no spread to resample: the interval is the point."""
    if len(values) < 2 or np.ptp(values) == 0:
        return float(values.mean()), float(values.mean())
    result = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng(seed), batch=500
    )
    bounds = result.confidence_interval
    return float(bounds.low), float(bounds.high)


def visible_gain(n: int, spread: float = 0.45) -> float:
    """The smallest paired gain that `n` rows can tell from noise: 1.96 standard errors, for differences of this spread.

    0.45 is the standard deviation when two prompts disagree outright on a fifth of the rows.
    """
    return 1.96 * spread / float(np.sqrt(n))
