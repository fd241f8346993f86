"""Requests through the pacer in virtual time: an event loop whose time jumps to the next timer as soon as nothing else
is to be done, so that an hour takes no time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from promptstill.endpoint.rate import Pacer

Limiter = Callable[[float], float | None]  # from the time to None, or the seconds until it would admit
Result = TypeVar("Result")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its `time` begins at zero."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]  # the base class's own, not in its stub
            self._now = max(self._now, self._scheduled[0].when())  # type: ignore[attr-defined]  # as above
        super()._run_once()  # type: ignore[misc]  # as above


def run_in_virtual_time(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, run in a loop of virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


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
