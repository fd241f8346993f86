"""The pacer against limits of several kinds, in virtual time: how long 600 requests take, and how many are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.cells import read
from benchmarks.speed import limits
from benchmarks.speed.limits import Limiter, bucket, fixed, sliding
from promptstill.endpoint.rate import Pacer
from tests.promptstill.endpoint.pacing import ask_all, run_in_virtual_time

MINUTE = 60.0


@pytest.mark.parametrize("says", [True, False], ids=["with Retry-After", "without"])
@pytest.mark.parametrize("delay_s", [0.2, 3.0])
@pytest.mark.parametrize("kind", [sliding, fixed, bucket])
def test_six_hundred_requests_at_fifty_a_minute(kind: Callable[[int], Limiter], delay_s: float, says: bool) -> None:
    run = run_in_virtual_time(ask_all(Pacer(64), 600, kind(50), says=says, delay_s=delay_s))
    assert run.answered == 600
    assert run.seconds < 14 * MINUTE
    assert run.refused < 0.05 * 600
    assert 35 < run.rates[-1] < 55


@pytest.mark.parametrize("per_second", [2, 10, 100])
def test_a_limit_by_the_second_is_not_taken_for_one_by_the_minute(per_second: int) -> None:
    requests = 60 * per_second
    run = run_in_virtual_time(ask_all(Pacer(64), requests, sliding(per_second, 1.0), says=False, delay_s=0.1))
    assert run.answered == requests and run.seconds < 2 * MINUTE
    assert run.refused < 0.1 * requests + 20


def test_the_part_measures_what_is_not_stored_and_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FAST", tmp_path)
    monkeypatch.setattr(limits, "FAST_REQUESTS", 4)
    monkeypatch.setattr(limits, "ANSWER_S", 0.0)
    limits.run(fast=True)
    limits.run(fast=True)
    records = read(limits.PART, tmp_path)
    assert len(records) == 6 and all(one["result"]["answered"] == 4 for one in records)
    assert "| 50 in a bucket | no | 4 | 0.0 | 0 of 4 (0.0 %) | none |" in limits.section(records)
