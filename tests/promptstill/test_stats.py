"""Intervals cover the truth as often as they promise, also on few rows, and are never a point."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from promptstill.stats import (
    MIN_GROUPS,
    Gain,
    degrees_of_freedom,
    detectable_gain,
    effective_groups,
    gain,
    gain_interval,
    mean_interval,
    score_interval,
    sign_flip_p_value,
)

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


@pytest.mark.parametrize(
    "sizes",
    [[100, *[4] * 25], [40, 20, 13, 10, 8, 6, 5, 5, 4, 4, 3, 3, 3, 2, 2, 2, 2], [2, 3, 5, 8, 13, 21, 34, 55, 89]],
    ids=["one giant", "Zipf", "2 to 89"],
)
def test_groups_of_unequal_size_cover_the_truth_and_the_plain_variance_does_not(sizes: list[int]) -> None:
    rng = np.random.default_rng(0)
    groups = [str(number) for number, size in enumerate(sizes) for _ in range(size)]
    shared = rng.normal(size=(SIMULATIONS, len(sizes))).repeat(sizes, axis=1)
    hard = (shared + rng.normal(size=shared.shape)) / 2**0.5
    difference = np.sign(hard) * (np.abs(hard) > 1)
    bounds = np.array([gain_interval(row, groups) for row in difference])
    assert np.mean((bounds[:, 0] <= 0) & (bounds[:, 1] >= 0)) >= 0.93
    assert np.mean(bounds[:, 0] > 0) <= 0.035
    sums = np.add.reduceat(difference, np.cumsum([0, *sizes[:-1]]), axis=1) - difference.mean(axis=1)[:, None] * sizes
    plain = (np.sum(sums**2, axis=1) * len(sizes) / (len(sizes) - 1)) ** 0.5 / len(groups)
    assert np.mean(np.abs(difference.mean(axis=1)) <= 2.1 * plain) < 0.92, (
        "a plain cluster-robust variance promises more"
    )


def test_degrees_of_freedom_are_fewer_where_one_group_is_large_and_groups_less_one_where_all_are_alike() -> None:
    assert degrees_of_freedom(40, None) == degrees_of_freedom(40, [*map(str, range(40))]) == 39
    assert degrees_of_freedom(12, [*"aaabbbcccddd"]) == pytest.approx(3)
    assert 1 <= degrees_of_freedom(12, [*"aaaaaabcdefg"]) < 2.5
    assert degrees_of_freedom(12, ["a"] * 12) == 1


def test_effective_groups_count_rows_without_groups_one_by_one_and_a_giant_for_little() -> None:
    assert effective_groups(None, 30) == effective_groups([*map(str, range(30))], 30) == 30
    assert effective_groups([*"aabbccddee"], 10) == 5 and effective_groups(["a"] * 10, 10) == 1
    assert 3 < effective_groups([*["a"] * 50, *map(str, range(50))], 100) < 4


def test_a_gain_holds_by_interval_corrected_p_value_and_groups_together() -> None:
    sure = Gain(0.2, 0.1, 0.3, 0.02, 40, 40.0, 0.4)
    assert sure.holds() and sure.clear and sure.holds(2) and not sure.holds(3)
    assert not Gain(0.2, -0.01, 0.4, 0.02, 40, 40.0).holds()
    few = Gain(0.2, 0.1, 0.3, 0.02, 40, MIN_GROUPS - 0.1)
    assert not few.holds() and not few.enough_groups and Gain(0.2, 0.1, 0.3, 0.02, 40, float(MIN_GROUPS)).holds()
    assert not Gain(1.0, 0.1, 1.0, 0.02, MIN_GROUPS - 1).holds(), "without groups every row counts for one"
    worse = Gain(-0.2, -0.3, -0.1, 0.02, 40)
    assert worse.differs() and not worse.holds() and not worse.differs(3)


def test_the_permutation_test_is_exact_for_whole_sums_and_counts_every_way_to_flip_the_signs() -> None:
    for sums in ([1.0, 1, 1, -1, 0], [3.0, -1, 2, 2], [1.0] * 6, [5.0, -5]):
        ways = [sum(a * b for a, b in zip(signs, sums, strict=True)) for signs in product((-1, 1), repeat=len(sums))]
        expected = np.mean([abs(way) >= abs(sum(sums)) for way in ways])
        assert sign_flip_p_value(np.array(sums), 0) == pytest.approx(expected)
    few = np.array([0.5, 0.25, -0.125, 1.5, 0.0, 0.75])
    expected = np.mean([abs(np.dot(signs, few)) >= few.sum() for signs in product((-1, 1), repeat=6)])
    assert sign_flip_p_value(few, 0) == pytest.approx(expected) and expected == 0.125
    graded = np.random.default_rng(0).normal(0.1, 1, 40)
    whole = np.rint(graded * 1000)
    assert sign_flip_p_value(whole, 0) == pytest.approx(sign_flip_p_value(graded, 0), abs=0.02)


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
