"""Intervals over searches."""

from __future__ import annotations

import pytest
from scipy.stats import ttest_1samp, ttest_ind

from benchmarks.contest.table import difference_interval, t_interval

FIRST, SECOND = [0.61, 0.66, 0.68], [0.30, 0.41, 0.25]


def test_the_interval_of_searches_is_students_and_of_a_difference_welchs() -> None:
    one = ttest_1samp(FIRST, 0.0).confidence_interval()
    assert t_interval(FIRST) == pytest.approx((one.low, one.high))
    two = ttest_ind(FIRST, SECOND, equal_var=False).confidence_interval()
    assert difference_interval(FIRST, SECOND) == pytest.approx((two.low, two.high))


def test_a_single_value_counts_as_known() -> None:
    one = ttest_1samp(FIRST, 0.4).confidence_interval()
    assert difference_interval(FIRST, [0.4]) == pytest.approx((one.low - 0.4, one.high - 0.4))
    assert difference_interval([0.4], FIRST) == pytest.approx((0.4 - one.high, 0.4 - one.low))
    assert t_interval([0.4]) is None and difference_interval([0.4], [0.5]) is None
    assert difference_interval([0.5, 0.5], [0.25]) == (0.25, 0.25)
