"""Coverage: the intervals hold the truth in each population, and the figures would show broken ones."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.honesty import coverage


@pytest.mark.parametrize("case", coverage.SCORES)
def test_the_score_interval_covers_each_population(case: str) -> None:
    got = coverage.score_coverage(coverage.SCORES[case], 30, 300, 0)
    assert 0.9 <= got["covered"] <= 0.995 and got["sims"] == 300 and got["bca"] is None


@pytest.mark.parametrize("case", coverage.GAINS)
def test_the_gain_interval_covers_and_ships_no_false_gain(case: str) -> None:
    got = coverage.gain_coverage(coverage.GAINS[case], 30, 300, 0)
    assert got["covered"] >= 0.91
    if "no gain" in case:
        assert got["false"] == got["shipped"] <= 0.06
    else:
        assert got["false"] == 0 < got["shipped"]


def test_broken_intervals_would_be_seen() -> None:
    draws, truth = coverage.SCORES["0/1, accuracy 90 to 99 %"](200, 30, np.random.default_rng(0))
    assert coverage.bca_share_covered(draws, truth, 100) == pytest.approx(0.75, abs=0.15)
    points = np.stack([draws.mean(axis=1)] * 2, axis=1)
    assert coverage.share_covered(points, truth) < 0.1


def test_swapped_names_leave_no_difference() -> None:
    draws, truth = coverage.swap_names(np.array([0.0, 1.0, 1.0]))(400, 50, np.random.default_rng(0))
    assert not truth.any() and abs(draws.mean()) < 0.02 and set(np.unique(draws)) == {-1.0, 0.0, 1.0}
