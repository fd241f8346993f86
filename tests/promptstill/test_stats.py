"""Intervals cover the truth as often as they promise, also on few rows, and are never a point."""

from __future__ import annotations

import numpy as np
import pytest

from promptstill.stats import detectable_gain, gain, gain_interval, mean_interval, score_interval

SIMULATIONS = 600


def covers(draws: np.ndarray, truth: np.ndarray) -> float:
    """How often the score's interval holds the truth, over one row of `draws` a simulation."""
    bounds = [score_interval(row, seed) for seed, row in enumerate(draws)]
    return float(np.mean([low <= mean <= high for (low, high), mean in zip(bounds, truth, strict=True)]))


@pytest.mark.parametrize(("least", "most"), [(0.01, 0.1), (0.1, 0.9), (0.9, 0.99)])
def test_thirty_right_or_wrong_answers_cover_the_true_accuracy(least: float, most: float) -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(least, most, SIMULATIONS)
    draws = (rng.random((SIMULATIONS, 30)) < truth[:, None]).astype(float)
    assert 0.92 <= covers(draws, truth) <= 0.98  # a BCa bootstrap covers about 0.75 near the edges


def test_thirty_graded_scores_cover_the_true_mean() -> None:
    rng = np.random.default_rng(0)
    kind = rng.random((SIMULATIONS, 30))
    draws = np.where(kind < 0.04, 0.0, np.where(kind < 0.89, 1.0, rng.beta(3, 1.5, kind.shape)))
    truth = np.full(SIMULATIONS, 0.85 + 0.11 * 3 / 4.5)
    assert 0.92 <= covers(draws, truth) <= 0.98


@pytest.mark.parametrize(("disagree", "delta"), [(0.06, 0.04), (0.3, 0.0), (0.3, 0.15), (0.5, 0.4)])
def test_thirty_paired_rows_cover_the_true_gain(disagree: float, delta: float) -> None:
    rng = np.random.default_rng(0)
    drawn = rng.random((SIMULATIONS, 30))
    won = drawn < (disagree + delta) / 2
    lost = drawn > 1 - (disagree - delta) / 2
    bounds = np.array([gain_interval(row) for row in won.astype(float) - lost])
    covered = np.mean((bounds[:, 0] <= delta) & (delta <= bounds[:, 1]))
    assert covered >= 0.92  # Student's t alone covers 0.78 where few rows disagree
    if delta == 0:
        assert np.mean(bounds[:, 0] > 0) <= 0.05


@pytest.mark.parametrize("alike", [0.0, 0.3, 0.6])
def test_rows_in_groups_cover_the_truth_as_rows_that_stand_alone_would(alike: float) -> None:
    """Sixty rows on fifteen passages: what a passage shares moves all of its rows."""
    rng = np.random.default_rng(0)
    groups = [f"passage {n // 4}" for n in range(60)]
    shared, own = rng.normal(size=(SIMULATIONS, 15)).repeat(4, axis=1), rng.normal(size=(SIMULATIONS, 60))
    hard = alike**0.5 * shared + (1 - alike) ** 0.5 * own
    scores, difference = (hard < 0.4).astype(float), np.sign(hard) * (np.abs(hard) > 1)
    bounds = np.array([score_interval(row, seed, groups) for seed, row in enumerate(scores)])
    truth = 0.6554  # the share of a standard normal below 0.4
    assert np.mean((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])) >= 0.92
    bounds = np.array([gain_interval(row, groups) for row in difference])
    assert np.mean((bounds[:, 0] <= 0) & (bounds[:, 1] >= 0)) >= 0.92
    if alike:
        without = np.array([gain_interval(row) for row in difference])
        assert np.mean((without[:, 0] <= 0) & (without[:, 1] >= 0)) < 0.92, "the rows one by one promise too much"


def test_groups_of_one_row_change_nothing_and_one_group_of_all_counts_as_one_row() -> None:
    rng = np.random.default_rng(3)
    better, worse = list(rng.random(40)), list(rng.random(40) / 2)
    alone = [f"{n:02}" for n in range(40)]
    assert mean_interval(better, 0, alone) == mean_interval(better, 0)
    assert gain(better, worse, 0, alone) == gain(better, worse, 0)
    assert not gain(better, worse, 0, ["all"] * 40).clear and gain(better, worse, 0, ["all"] * 40).p == 1.0
    assert gain(better, worse, 0).clear


def test_all_right_is_no_proof_of_perfection() -> None:
    perfect, none = mean_interval([1.0] * 30, 0), mean_interval([0.0] * 30, 0)
    assert perfect.mean == perfect.high == 1.0 and 0.85 < perfect.low < 0.95
    assert none.mean == none.low == 0.0 and none.high == pytest.approx(1 - perfect.low, abs=0.01)


def test_equal_answers_leave_room_for_a_difference_that_shrinks_with_the_rows() -> None:
    few, many = gain([1.0] * 30, [1.0] * 30, 0), gain([1.0] * 300, [1.0] * 300, 0)
    assert few.mean == 0.0 and few.p == 1.0 and not few.clear
    assert few.low == -few.high and many.low == -many.high and 0 < many.high < 0.2 * few.high


def test_the_interval_is_of_the_rows_not_of_the_scale_of_their_scores() -> None:
    rng = np.random.default_rng(1)
    difference = rng.normal(0.05, 0.1, 50)
    low, high = gain_interval(difference)
    assert gain_interval(0.1 * difference) == pytest.approx((0.1 * low, 0.1 * high))


def test_one_row_says_nothing() -> None:
    one = gain([1.0], [0.0], 0)
    assert (one.mean, one.low, one.high, one.p, one.n) == (1.0, -1.0, 1.0, 1.0, 1)


def test_a_seed_repeats_and_the_mean_lies_within() -> None:
    scores = list(np.random.default_rng(2).random(40))
    assert mean_interval(scores, 3) == mean_interval(scores, 3)
    assert mean_interval(scores, 3).low < np.mean(scores) < mean_interval(scores, 3).high


def test_the_smallest_detectable_gain_shrinks_with_the_root_of_the_rows() -> None:
    assert detectable_gain(100) == pytest.approx(0.0882)
    assert detectable_gain(400) == pytest.approx(detectable_gain(100) / 2)
