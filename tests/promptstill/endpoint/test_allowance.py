"""What a run may spend: each limit by itself, all roles together, and what is held for the test split."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from promptstill.endpoint.allowance import JUDGE, Allowance, Limit, LimitReached, Limits
from promptstill.endpoint.store import Total

CALL = Total(1, 90, 10)


class Clock:
    """A clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def spend(allowance: Allowance, calls: int, role: str = "task") -> None:
    for _ in range(calls):
        allowance.reserve()
        allowance.pay(role, CALL)
        allowance.release()


@pytest.mark.parametrize(
    ("limits", "calls"),
    [
        (Limits(calls=10), 10),
        (Limits(tokens=1_000), 10),
        (Limits(usd=0.0011, price=(1.0, 2.0)), 10),
        (Limits(calls=10, tokens=500), 5),
    ],
)
def test_each_limit_counts_all_roles_together(limits: Limits, calls: int) -> None:
    allowance = Allowance(limits)
    spend(allowance, calls // 2, "probe")
    spend(allowance, calls - calls // 2)
    with pytest.raises(LimitReached):
        spend(allowance, 1, "proposer")
    assert allowance.total.calls == calls


def test_a_judges_calls_count_under_every_limit_and_not_as_the_runs_own() -> None:
    allowance = Allowance(Limits(calls=40, tokens=10_000), held=4)
    for _ in range(8):
        spend(allowance, 1)
        allowance.pay(JUDGE, CALL)
    assert allowance.total.calls == 8 and allowance.judge_cost.calls == 8
    left = {limit.kind: calls for limit, calls in allowance.calls_left().items()}
    assert left["calls"] == pytest.approx(8.0), "40 calls are 20 rows with their judge: 8 are done, 4 are held"
    assert left["tokens"] == pytest.approx(38.0)
    for _ in range(8):
        spend(allowance, 1)
        allowance.pay(JUDGE, CALL)
    with pytest.raises(LimitReached, match="--max-calls 40"):
        allowance.reserve()
    record = allowance.record()
    assert record["roles"]["judge"]["calls"] == 16 and record["total"]["calls"] == 16


def test_each_role_costs_by_its_own_price() -> None:
    limits = Limits(usd=1.321, price=(1.0, 2.0), role_prices={"proposer": (10.0, 20.0), JUDGE: (0.0, 100.0)})
    allowance = Allowance(limits)
    for role in ("task", "probe", "proposer"):
        spend(allowance, 1_000, role)
    assert allowance.usd_by_role == pytest.approx({"task": 0.11, "probe": 0.11, "proposer": 1.1})
    allowance.pay(JUDGE, CALL)
    assert allowance.usd == pytest.approx(1.321) and allowance.record()["usd_by_role"]["judge"] == pytest.approx(0.001)
    with pytest.raises(LimitReached, match=r"--max-usd 1\.321"):
        allowance.reserve()
    assert Limits.from_json(json.loads(json.dumps(asdict(limits)))) == limits


def test_a_judge_without_a_price_is_free() -> None:
    allowance = Allowance(Limits(price=(1.0, 1.0)))
    allowance.pay(JUDGE, CALL)
    assert allowance.usd == 0.0


def test_a_limit_is_a_value_that_knows_its_option() -> None:
    with pytest.raises(LimitReached) as caught:
        Allowance(Limits(usd=0.0, price=(1.0, 1.0))).reserve()
    assert caught.value.limit == Limit("usd", 0.0) and str(caught.value) == "--max-usd 0"
    assert str(Limit("calls", 400)) == "--max-calls 400" and Limit("minutes", 0.05).amount == "0.05"


def test_what_is_held_for_test_is_kept_until_test_is_read() -> None:
    allowance = Allowance(Limits(calls=10), held=4)
    spend(allowance, 6)
    assert allowance.room(0) == 0
    with pytest.raises(LimitReached):
        spend(allowance, 1)
    allowance.begin_test()
    spend(allowance, 4)
    with pytest.raises(LimitReached):
        spend(allowance, 1)


def test_held_calls_cost_what_calls_have_cost_so_far() -> None:
    allowance = Allowance(Limits(tokens=1_000), held=4)
    spend(allowance, 6)
    with pytest.raises(LimitReached):
        spend(allowance, 1)
    assert allowance.calls_left() == {Limit("tokens", 1_000): 0.0}


def test_minutes_bound_the_search_alone_and_hold_nothing_back() -> None:
    clock = Clock()
    allowance = Allowance(Limits(minutes=3.0), held=10_000, clock=clock)
    spend(allowance, 1)
    clock.now = 179.0
    spend(allowance, 99)
    assert allowance.calls_left() == {Limit("minutes", 3.0): pytest.approx(100 * (180 / 179 - 1))}
    clock.now = 180.0
    with pytest.raises(LimitReached):
        spend(allowance, 1)
    allowance.begin_test()
    spend(allowance, 50)


def test_the_minutes_of_earlier_parts_of_a_run_count() -> None:
    clock = Clock()
    allowance = Allowance(Limits(minutes=3.0), {"task": Total(100)}, seconds=170.0, clock=clock)
    spend(allowance, 1)
    clock.now = 10.0
    with pytest.raises(LimitReached):
        spend(allowance, 1)


def test_room_is_the_least_that_any_limit_leaves() -> None:
    assert Allowance().room(1_000) == float("inf")
    allowance = Allowance(Limits(calls=100, tokens=2_000))
    spend(allowance, 10)
    assert allowance.room(1) == 10
    with pytest.raises(LimitReached, match="--max-tokens"):
        allowance.room(11)
