"""Coverage: the intervals hold the truth in each population, and the figures would show broken ones."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.honesty import coverage
from benchmarks.honesty.groups import GROUPED_GAINS, SHAPES, names


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


@pytest.mark.parametrize("case", GROUPED_GAINS)
def test_gains_of_groups_of_any_size_are_covered_and_the_rule_ships_no_false_one(case: str) -> None:
    got = coverage.grouped_coverage(GROUPED_GAINS[case], 200, 400)
    assert got["covered"] >= 0.92 and got["sims"] == 400 and 1 <= got["groups"] <= 50
    if "no gain" in case:
        assert got["false"] == got["shipped"] <= 0.04
    else:
        assert got["false"] == 0


def test_rows_of_one_giant_group_ship_nothing() -> None:
    got = coverage.grouped_coverage(GROUPED_GAINS["one giant group, 10 to 50 % differ, a gain"], 200, 200)
    assert got["groups"] < 5 and got["shipped"] == 0
    assert got["plain"] < 0.88 and got["covered"] > 0.93, "a plain cluster-robust variance is too small"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [30, 50, 500])
def test_a_shape_has_as_many_rows_as_are_asked_for(shape: str, n: int) -> None:
    sizes = SHAPES[shape](n, np.random.default_rng(0))
    assert sizes.sum() == n == len(names(sizes)) and sizes.min() >= 1


def test_broken_intervals_would_be_seen() -> None:
    draws, truth = coverage.SCORES["0/1, accuracy 90 to 99 %"](200, 30, np.random.default_rng(0))
    assert coverage.bca_share_covered(draws, truth, 100) == pytest.approx(0.75, abs=0.15)
    points = np.stack([draws.mean(axis=1)] * 2, axis=1)
    assert coverage.share_covered(points, truth) < 0.1


def test_swapped_names_leave_no_difference() -> None:
    draws, truth = coverage.swap_names(np.array([0.0, 1.0, 1.0]))(400, 50, np.random.default_rng(0))
    assert not truth.any() and abs(draws.mean()) < 0.02 and set(np.unique(draws)) == {-1.0, 0.0, 1.0}
