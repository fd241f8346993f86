"""How often the product's 95 % intervals hold the truth, and how often its rule would ship a gain that is none.

Scores and paired differences are drawn from populations whose mean is known, and go through `promptstill.stats` as it
is. A BCa bootstrap (scipy) of the same draws is measured beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from benchmarks.honesty.groups import LAYOUTS, GroupedCase, names
from promptstill.stats import RESAMPLES, Groups, effective_groups, gain, gain_interval, score_interval

POPULATION = 100_000
STEPS = 20  # F1 takes few values; so do the graded scores here
RULE_SIMS = 100  # draws that the whole rule judges where there is a gain; where there is none it judges all
Draw = Callable[[int, int, np.random.Generator], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class GradedScores:
    """Scores as token F1 gives them: shares of 0 and of 1, and between them Beta(a, b)."""

    zeros: float
    ones: float
    a: float
    b: float

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        kind, between = rng.random(count), rng.beta(self.a, self.b, count)
        graded = np.round(between * STEPS) / STEPS
        return np.where(kind < self.zeros, 0.0, np.where(kind < self.zeros + self.ones, 1.0, graded))


LOW, MIDDLE, HIGH = GradedScores(0.25, 0.03, 1.2, 4), GradedScores(0.35, 0.35, 2, 2), GradedScores(0.04, 0.85, 3, 1.5)
JUDGED = GradedScores(0.0, 0.0, 8, 8)


def accuracy(least: float, most: float) -> Draw:
    """Right or wrong, with a true accuracy anywhere in a band; a fixed one would show the steps of the binomial."""

    def draw(sims: int, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        truth = rng.uniform(least, most, sims)
        return (rng.random((sims, n)) < truth[:, None]).astype(float), truth

    return draw


def disagreement(least: float, most: float, *, gains: bool) -> Draw:
    """Two prompts, right or wrong, that differ on a share of rows, anywhere in a band; the gain is 0 or part of it."""

    def draw(sims: int, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        differ = rng.uniform(least, most, sims)
        truth = differ * rng.uniform(0, 1, sims) if gains else np.zeros(sims)
        at = rng.random((sims, n))
        won, lost = (differ + truth) / 2, (differ - truth) / 2
        return (at < won[:, None]).astype(float) - (at > 1 - lost[:, None]), truth

    return draw


def resample(population: np.ndarray) -> Draw:
    """Rows drawn from a known population, whose mean is then the truth."""

    def draw(sims: int, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return rng.choice(population, (sims, n)), np.full(sims, population.mean())

    return draw


def swap_names(differences: np.ndarray) -> Draw:
    """Paired differences of two prompts whose names are swapped at random on each row, so that there is no gain."""

    def draw(sims: int, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return rng.choice(differences, (sims, n)) * rng.choice([-1.0, 1.0], (sims, n)), np.zeros(sims)

    return draw


def graded_scores(kind: GradedScores) -> Draw:
    return resample(kind.draw(POPULATION, np.random.default_rng(1)))


def graded_pair(ties: float, candidate: GradedScores, reference: GradedScores) -> Draw:
    """Paired differences of two graded prompts that answer a share of the rows alike."""
    rng = np.random.default_rng(1)
    difference = candidate.draw(POPULATION, rng) - reference.draw(POPULATION, rng)
    difference[rng.random(POPULATION) < ties] = 0.0
    return swap_names(difference) if candidate == reference else resample(difference)


SCORES: Mapping[str, Draw] = {
    "0/1, accuracy 1 to 10 %": accuracy(0.01, 0.1),
    "0/1, accuracy 10 to 90 %": accuracy(0.1, 0.9),
    "0/1, accuracy 90 to 99 %": accuracy(0.9, 0.99),
    "F1, mostly wrong": graded_scores(LOW),
    "F1, half right": graded_scores(MIDDLE),
    "F1, mostly right": graded_scores(HIGH),
}
GAINS: Mapping[str, Draw] = {
    "0/1, 2 to 10 % of rows differ, no gain": disagreement(0.02, 0.1, gains=False),
    "0/1, 10 to 50 % differ, no gain": disagreement(0.1, 0.5, gains=False),
    "0/1, 2 to 10 % differ, a gain": disagreement(0.02, 0.1, gains=True),
    "0/1, 10 to 50 % differ, a gain": disagreement(0.1, 0.5, gains=True),
    "F1, half of rows alike, no gain": graded_pair(0.5, MIDDLE, MIDDLE),
    "F1, a fifth alike, a gain": graded_pair(0.2, MIDDLE, LOW),
    "marks in small steps, no gain": graded_pair(0.1, JUDGED, JUDGED),
}


def score_coverage(draw: Draw, n: int, sims: int, bca_sims: int) -> dict[str, Any]:
    """The share of simulations whose interval holds the truth, for ours and for BCa."""
    draws, truth = draw(sims, n, np.random.default_rng([n, 0]))
    ours = np.array([score_interval(row, seed) for seed, row in enumerate(draws)])
    return figures(ours, truth) | {"bca": bca_share_covered(draws, truth, bca_sims), "bca_sims": bca_sims}


def gain_coverage(draw: Draw, n: int, sims: int, bca_sims: int) -> dict[str, Any]:
    """As for scores, with how often the rule ships the candidate, and how often one that is no better."""
    draws, truth = draw(sims, n, np.random.default_rng([n, 1]))
    ours = np.array([gain_interval(row) for row in draws])
    bca_share = {"bca": bca_share_covered(draws, truth, bca_sims), "bca_sims": bca_sims}
    return figures(ours, truth) | shipped_shares([*zip(draws, ours, truth, strict=True)], None) | bca_share


def grouped_coverage(case: GroupedCase, n: int, sims: int) -> dict[str, Any]:
    """The same for rows in groups, and `groups`: the mean effective number of them."""
    rng = np.random.default_rng([n, 2])
    parts = [grouped_part(case, case.sizes(n, rng), sims // LAYOUTS, rng) for _ in range(LAYOUTS)]
    return {key: sims if key == "sims" else float(np.mean([one[key] for one in parts])) for key in parts[0]} | {
        "bca": None,
        "bca_sims": 0,
    }


def grouped_part(case: GroupedCase, sizes: np.ndarray, sims: int, rng: np.random.Generator) -> dict[str, Any]:
    """The figures of one set of group sizes."""
    draws, truth = case.draw(sims, sizes, rng)
    groups = names(sizes)
    plain = share_covered(plain_intervals(draws, sizes), truth)
    worth = {"groups": effective_groups(groups, len(groups)), "plain": plain}
    if case.gains is None:
        return figures(np.array([score_interval(row, i, groups) for i, row in enumerate(draws)]), truth) | worth
    ours = np.array([gain_interval(row, groups) for row in draws])
    return figures(ours, truth) | shipped_shares([*zip(draws, ours, truth, strict=True)], groups) | worth


def plain_intervals(draws: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Student's t on the plain cluster-robust variance, with one degree of freedom less than groups; (sims, 2)."""
    count, mean = len(sizes), draws.mean(axis=1)
    sums = np.add.reduceat(draws, np.cumsum(sizes) - sizes, axis=1) - mean[:, None] * sizes
    error = np.sqrt((sums**2).sum(axis=1) * count / max(count - 1, 1)) / sizes.sum()
    half = scipy_stats.t.ppf(0.975, max(count - 1, 1)) * error
    return np.stack([mean - half, mean + half], axis=1)


def shipped_shares(found: Sequence[tuple[np.ndarray, np.ndarray, float]], groups: Groups) -> dict[str, float]:
    """How often the whole rule ships, and how often wrongly. found: each draw, its interval and the truth."""
    judged = found if found[0][2] <= 0 else found[:RULE_SIMS]
    shipped = [rule_holds(row, bounds[0], groups, seed) for seed, (row, bounds, _) in enumerate(judged)]
    false = [held and truth <= 0 for held, (_, _, truth) in zip(shipped, judged, strict=True)]
    return {"shipped": float(np.mean(shipped)), "false": float(np.mean(false))}


def rule_holds(row: np.ndarray, low: float, groups: Groups, seed: int) -> bool:
    """Whether the rule finds a gain: by interval, permutation test and effective groups. low: of the interval."""
    return bool(low > 0) and gain(list(row), [0.0] * len(row), seed, groups).holds()


def figures(bounds: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    width = float(np.mean(bounds[:, 1] - bounds[:, 0]))
    return {"covered": share_covered(bounds, truth), "width": width, "sims": len(truth)}


def share_covered(bounds: np.ndarray, truth: np.ndarray) -> float:
    tiny = 1e-12  # a mean of equal floats may differ from them
    return float(np.mean((bounds[:, 0] <= truth + tiny) & (truth <= bounds[:, 1] + tiny)))


def bca_share_covered(draws: np.ndarray, truth: np.ndarray, sims: int) -> float | None:
    """The share for BCa, on the first `sims` of the draws; None for none."""
    if not sims:
        return None
    return share_covered(np.array([bca(row, seed) for seed, row in enumerate(draws[:sims])]), truth[:sims])


def bca(values: np.ndarray, seed: int) -> tuple[float, float]:
    """The BCa bootstrap interval (Efron 1987); for equal values, which it cannot resample, the value itself."""
    if np.ptp(values) == 0:
        return float(values.mean()), float(values.mean())
    rng = np.random.default_rng(seed)
    found = scipy_stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=rng, batch=500)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
