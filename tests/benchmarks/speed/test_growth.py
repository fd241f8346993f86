"""Growth: what it counts in real runs on the fake engine, and the slope."""

from __future__ import annotations

import pytest

from benchmarks.speed import growth


def test_the_slope_is_the_exponent() -> None:
    sizes = [10, 100, 1000]
    assert growth.slope(sizes, [3, 3, 3]) == pytest.approx(0)
    assert growth.slope(sizes, [size**0.5 for size in sizes]) == pytest.approx(0.5)


def test_sizes_that_add_too_few_calls_are_left_out() -> None:
    measured = [(50, 900, 3.8), (150, 1_400, 3.7), (500, 3_900, 6.8), (5_000, 33_900, 36.8)]
    cells = [
        {"key": {"what": "dev", "size": n, "trials": 16},
         "result": {"calls": calls, "cpu_s": cpu_s, "memory_mib": 4.0, "files_mib": 2.0}}
        for n, calls, cpu_s in measured
    ]  # fmt: skip
    assert "more rows than 50 add: 1.00 (500), 1.00 (5,000); slope " in growth.section(cells)


def test_the_calls_of_real_runs_are_counted() -> None:
    small, large = (growth.measure_size("dev", size, 2, processes=1) for size in (20, 40))
    assert small["calls"] < large["calls"] and small["cpu_s"] > 0 and small["files_mib"] > 0


def test_a_pool_renders_each_request() -> None:
    got = growth.measure_size("pool", 20, 0)
    assert got["each_ms"] > 0 and got["once_ms"] > 0 and got["memory_mib"] >= 0
