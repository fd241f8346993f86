"""How long the rest of a search takes: at the pace of new trials, or until a limit ends it."""

from __future__ import annotations

import pytest

from optimizer.search.pace import Pace
from promptstill.endpoint.allowance import Allowance, Limits
from promptstill.endpoint.store import Total


class Clock:
    """A clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_resumed_search_counts_new_trials_alone() -> None:
    clock = Clock()
    pace = Pace(Allowance(spent={"task": Total(400)}, clock=clock), clock)
    clock.now = 5.0
    pace.note(8)
    assert pace.left(8, 16) == (None, ""), "stored replies say nothing of the pace"
    pace.allowance.pay("task", Total(80))
    clock.now = 13.0
    pace.note(12)
    assert pace.left(12, 16) == (8.0, "") and pace.seconds_per_call == pytest.approx(0.1)
    assert pace.estimate(600) == ", about 60 s at the search's pace"


def test_asking_for_more_choices_is_no_part_of_the_pace() -> None:
    clock = Clock()
    pace = Pace(Allowance(clock=clock), clock)
    pace.allowance.pay("task", Total(100))
    clock.now = 10.0
    with pace.untimed():
        pace.allowance.pay("proposer", Total(7))
        clock.now = 70.0
    assert pace.seconds_per_call == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("limits", "seconds", "option"),
    [
        (Limits(), 3_720, ""),
        (Limits(calls=100_000), 3_720, ""),
        (Limits(calls=250), 30, "--max-calls"),
        (Limits(tokens=25_000), 30, "--max-tokens"),
        (Limits(usd=0.025, price=(1.0, 0.0)), 30, "--max-usd"),
        (Limits(minutes=1.0), 30, "--max-minutes"),
    ],
)
def test_the_time_left_is_that_of_the_limit_that_ends_the_search_first(
    limits: Limits, seconds: float, option: str
) -> None:
    clock = Clock()
    pace = Pace(Allowance(limits, held=50, clock=clock), clock)
    pace.allowance.pay("task", Total(100, 10_000))
    clock.now = 30.0  # 0.3 s a call
    pace.note(8)
    left, by = pace.left(8, 1_000)
    assert left == pytest.approx(seconds) and by == option
