"""Axes: round ticks, and data where they belong."""

from __future__ import annotations

import pytest

from promptstill.report.plot import TICKS, Axes, padded, ticks


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((0, 100), [0, 20, 40, 60, 80, 100]),
        ((-0.3, 0.31), [-0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3]),
        ((20.5, 57.2), [30, 40, 50]),
        ((0, 1234), [0, 200, 400, 600, 800, 1000, 1200]),
    ],
)
def test_ticks_are_round_and_few(span: tuple[float, float], expected: list[float]) -> None:
    assert ticks(span) == expected and len(expected) <= TICKS


def test_ticks_of_counts_are_whole() -> None:
    assert ticks((-0.5, 2.5), whole=True) == [0, 1, 2]


def test_data_lie_between_the_edges() -> None:
    axes = Axes(10, 110, 20, 70, (0, 50), (0, 1))
    assert axes.place(0, 0) == (10, 70) and axes.place(50, 1) == (110, 20) and axes.place(25, 0.5) == (60, 45)
    assert padded([2, 2]) == (1, 3) and padded([0, 100]) == (-5, 105)
