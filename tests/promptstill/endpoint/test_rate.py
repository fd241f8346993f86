"""The pacer against endpoints with limits of several kinds, in virtual time: how long 600 requests take, and how many
are refused."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from promptstill.endpoint.rate import FIRST_WINDOW, Pacer
from tests.promptstill.endpoint.virtual_time import run_in_virtual_time

MINUTE = 60.0
Limiter = Callable[[float], float | None]  # from the time to None, or the seconds until it would admit


def sliding(limit: int, span: float = MINUTE) -> Limiter:
    """So many requests in any span."""
    admitted: deque[float] = deque()

    def take(now: float) -> float | None:
        while admitted and admitted[0] <= now - span:
            admitted.popleft()
        if len(admitted) >= limit:
            return admitted[0] + span - now
        admitted.append(now)
        return None

    return take


def fixed(limit: int, span: float = MINUTE) -> Limiter:
    """So many requests in each span of the clock."""
    counts: dict[int, int] = {}

    def take(now: float) -> float | None:
        place = int(now // span)
        counts[place] = counts.get(place, 0) + 1
        return None if counts[place] <= limit else (place + 1) * span - now

    return take


def bucket(limit: int, span: float = MINUTE) -> Limiter:
    """A bucket of so many, refilled steadily."""
    level, at = float(limit), 0.0

    def take(now: float) -> float | None:
        nonlocal level, at
        level, at = min(limit, level + (now - at) * limit / span), now
        if level < 1:
            return (1 - level) * span / limit
        level -= 1
        return None

    return take


@dataclass
class Run:
    """What came of asking. rates: as they were learned, in requests a minute."""

    seconds: float = 0.0
    answered: int = 0
    refused: int = 0
    most_in_flight: int = 0
    rates: list[float] = field(default_factory=list)


async def ask_all(pacer: Pacer, requests: int, limiter: Limiter, *, says: bool, delay_s: float) -> Run:
    run, in_flight = Run(), 0
    pacer.on_rate = lambda rate: run.rates.append(60 * rate)

    async def ask() -> None:
        nonlocal in_flight
        async with pacer.slot():
            while True:
                admission = await pacer.admit()
                wait = limiter(asyncio.get_running_loop().time())
                in_flight += 1
                run.most_in_flight = max(run.most_in_flight, in_flight)
                await asyncio.sleep(delay_s)
                in_flight -= 1
                if wait is None:
                    run.answered += 1
                    pacer.answered(admission)
                    return
                run.refused += 1
                pacer.refused(admission, wait if says else None)

    await asyncio.gather(*(ask() for _ in range(requests)))
    run.seconds = asyncio.get_running_loop().time()
    return run


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


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_refusals_by_chance_are_no_limit(share: float) -> None:
    chance = random.Random(0)
    requests = 2_000
    limiter: Limiter = lambda now: 1.0 if chance.random() < share else None  # noqa: E731  # the shortest form of it
    run = run_in_virtual_time(ask_all(Pacer(64), requests, limiter, says=False, delay_s=0.5))
    assert run.answered == requests and len(run.rates) <= 2
    assert run.seconds < 3 * requests * share + 60


def test_without_a_limit_the_window_grows_to_its_most_and_nothing_is_paced() -> None:
    run = run_in_virtual_time(ask_all(Pacer(64), 2_000, lambda now: None, says=False, delay_s=1.0))
    assert run.most_in_flight == 64 and run.rates == []
    assert run.seconds < 2_000 / 64 + 16


def test_the_window_begins_small_and_an_engine_of_ours_has_all_of_it_at_once() -> None:
    def in_flight(pacer: Pacer, requests: int) -> int:
        return run_in_virtual_time(ask_all(pacer, requests, lambda now: None, says=False, delay_s=1.0)).most_in_flight

    assert in_flight(Pacer(64), FIRST_WINDOW) == FIRST_WINDOW
    assert in_flight(Pacer(64, 64), 100) == 64
    assert in_flight(Pacer(2), 50) == 2


def test_while_the_limit_is_used_up_one_request_at_a_time_asks_whether_it_is_over() -> None:
    closed_until = 100.0
    run = run_in_virtual_time(
        ask_all(
            Pacer(64, 64), 64, lambda now: closed_until - now if now < closed_until else None, says=False, delay_s=0.1
        )
    )
    assert run.answered == 64 and 64 < run.refused < 64 + 12


def test_a_request_that_is_given_up_leaves_its_place_to_others() -> None:
    async def work() -> int:
        pacer, done = Pacer(2), 0

        async def ask(seconds: float) -> None:
            nonlocal done
            async with pacer.slot():
                await pacer.admit()
                await asyncio.sleep(seconds)
                done += 1

        jobs = [asyncio.create_task(ask(50.0)) for _ in range(6)]
        await asyncio.sleep(1)
        for job in jobs[:5]:
            job.cancel()
        await asyncio.wait(jobs)
        return done

    assert run_in_virtual_time(work()) == 1


def test_a_scout_that_fails_otherwise_is_followed_by_another() -> None:
    async def work() -> list[bool]:
        pacer = Pacer(8)
        pacer.refused(await pacer.admit(), 5.0)
        scouts = []
        for _ in range(2):
            admission = await pacer.admit()
            scouts.append(admission.scout)
            pacer.failed(admission)
        pacer.answered(await pacer.admit())
        scouts.append((await pacer.admit()).scout)
        return scouts

    assert run_in_virtual_time(work()) == [True, True, False]
