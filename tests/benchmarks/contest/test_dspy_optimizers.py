"""SIMBA's sizes."""

from __future__ import annotations

import pytest

from benchmarks.contest.dspy_optimizers import SimbaSteps, simba_steps


@pytest.mark.parametrize(
    ("cap", "rows", "steps"),
    [(500, 100, SimbaSteps(13, 3, 2)), (250, 100, SimbaSteps(9, 2, 1)), (130, 40, SimbaSteps(9, 2, 1))],
)
def test_simba_ends_within_its_cap(cap: int, rows: int, steps: SimbaSteps) -> None:
    assert simba_steps(cap, rows) == steps
    batch = steps.bsize * (2 * steps.num_candidates + 1) + steps.num_candidates + 1
    assert steps.max_steps * batch + (steps.max_steps + 1) * rows <= cap


def test_where_a_cap_pays_for_no_step_the_smallest_is_tried() -> None:
    assert simba_steps(100, 100) == SimbaSteps(1, 2, 1)
    assert simba_steps(10_000, 20) == SimbaSteps(20, 3, 2), "a batch has no row twice"
