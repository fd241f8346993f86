"""The pacer: its window, and what it makes of refusals, in virtual time."""

from __future__ import annotations

import asyncio
import random

import pytest

from promptstill.endpoint.rate import FIRST_WINDOW, Pacer
from tests.promptstill.endpoint.pacing import Limiter, ask_all, run_in_virtual_time


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
