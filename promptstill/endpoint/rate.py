"""How fast an endpoint may be asked: a window of requests in flight, and a rate that is learned from its refusals.

Both begin carefully: the window is small and grows with the answers; there is no rate until a request is refused. Then
nothing is sent until the endpoint says, or a single request finds out, that it answers again. What it had answered by
then, in the time that it took, is the rate from then on: it rises a little with each answer, and falls with each
refusal (additive increase, multiplicative decrease: Chiu and Jain 1989).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

FIRST_WINDOW = 4  # requests in flight at the beginning
GROWTH = 0.25  # by which an answer widens the window: from 4 to 64 takes 240 answers
SPAN_S = 60.0  # providers count by the minute
RISE = 0.0005  # of the rate, with each answer
FALL = 0.95  # of the rate, with a refusal
SOON_S, STEEP_FALL = 15.0, 0.8  # a rate that is refused so soon is far too high
MOST_FALL = 0.1  # one refusal tells no more than that: others may have asked too
FIRST_PAUSE_S, MOST_PAUSE_S = 1.0, 15.0  # where the endpoint does not say how long


@dataclass(frozen=True)
class Admission:
    """Leave to send one request, the `number`-th. scout: whether it goes alone, to find out if the limit is over."""

    number: int
    scout: bool = False


@dataclass
class Closure:
    """A time in which nothing is sent, since the endpoint refused the `number`-th request at the time `at`.

    pause_s: before the next scout, where the endpoint does not say. refused, answered: of the requests sent later.
    """

    at: float
    number: int
    opens_at: float
    pause_s: float = FIRST_PAUSE_S
    refused: int = 0
    answered: int = 0

    @property
    def by_chance(self) -> bool:
        """Whether the endpoint answered more of what was sent later than it refused: it was busy, and has no limit."""
        return self.answered > self.refused or not self.refused


class Pacer:
    """Says when each request may go.

    window: the most requests in flight, reached by and by from `first`. on_rate: called with the requests a second,
    when the rate is learned or has changed. Times are those of the running event loop, but for `answered_at`: when any
    request was last answered, by time.monotonic().
    """

    def __init__(self, window: int, first: int = FIRST_WINDOW, on_rate: Callable[[float], None] | None = None) -> None:
        self.rate: float | None = None
        self.answered_at = time.monotonic()
        self.on_rate = on_rate
        self._most, self._window, self._in_flight = window, float(min(first, window)), 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._turn = asyncio.Lock()
        self._next_at, self._sent = 0.0, 0
        self._closure: Closure | None = None
        self._scout_back: asyncio.Event | None = None
        self._since: float | None = None
        self._answers: deque[float] = deque()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """A place in the window, in the order of asking."""
        if self._in_flight >= int(self._window) or self._waiting:
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place
            except BaseException:
                if place.done() and not place.cancelled():
                    self._leave()
                raise
        else:
            self._in_flight += 1
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        self._in_flight -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._in_flight < int(self._window):
            place = self._waiting.popleft()
            if not place.done():
                self._in_flight += 1
                place.set_result(None)

    async def admit(self) -> Admission:
        """Wait for leave to send a request; whoever has it must say what came of it."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            self._since = loop.time() if self._since is None else self._since
            while True:
                if self._closure is None:
                    if (pause := self._next_at - loop.time()) <= 0:
                        break
                    await asyncio.sleep(pause)
                elif self._scout_back:
                    await self._scout_back.wait()
                elif (pause := self._closure.opens_at - loop.time()) > 0:
                    await asyncio.sleep(pause)
                else:
                    self._scout_back = asyncio.Event()
                    return self._send(scout=True)
            if self.rate:
                self._next_at = max(self._next_at, loop.time()) + 1 / self.rate
            return self._send()

    def _send(self, *, scout: bool = False) -> Admission:
        self._sent += 1
        return Admission(self._sent, scout)

    def answered(self, admission: Admission) -> None:
        """The request was answered."""
        now = asyncio.get_running_loop().time()
        self._answers.append(now)
        while self._answers[0] < now - 2 * SPAN_S:
            self._answers.popleft()
        self._window = min(self._window + GROWTH, self._most)
        self._let_in()
        if self._closure and admission.number > self._closure.number:
            self._closure.answered += not admission.scout
        if self._closure and admission.scout:
            self._open(self._closure, now)
        elif self.rate:
            self.rate *= 1 + RISE

    def refused(self, admission: Admission, wait_s: float | None) -> None:
        """The endpoint refuses to be asked so often. wait_s: how long it says to wait, None where it does not."""
        now, closure = asyncio.get_running_loop().time(), self._closure
        if closure is None:
            closure = self._closure = Closure(now, admission.number, now + FIRST_PAUSE_S)
        elif admission.number > closure.number:
            closure.refused += 1
        if admission.scout:
            closure.pause_s = min(2 * closure.pause_s, MOST_PAUSE_S)
            closure.opens_at = now + closure.pause_s
        if wait_s is not None:
            closure.opens_at = now + wait_s if closure.at == now else max(closure.opens_at, now + wait_s)
        self._end_scouting(admission)

    def failed(self, admission: Admission) -> None:
        """The request came to nothing, for another reason."""
        self._end_scouting(admission)

    def _end_scouting(self, admission: Admission) -> None:
        if admission.scout and self._scout_back:
            self._scout_back.set()
            self._scout_back = None

    def _open(self, closure: Closure, now: float) -> None:
        """Go on, at the rate of what was answered since the beginning, or since a minute before the refusal."""
        limited = self.rate is not None or not closure.by_chance
        if limited:
            self._window = max(self._window / 2, min(self._window, FIRST_WINDOW))
            begin = max(self._since or 0.0, closure.at - SPAN_S)
            rate = FALL * sum(at >= begin for at in self._answers) / max(now - begin, 1e-3)
            if self.rate is not None:
                fall = STEEP_FALL if closure.at - begin < SOON_S else FALL
                rate = min(max(rate, MOST_FALL * self.rate), fall * self.rate)
            self.rate, self._next_at = rate, now + 1 / rate
        self._closure, self._since = None, now
        if self._scout_back:
            self._scout_back.set()
            self._scout_back = None
        if self.on_rate and self.rate and limited:
            self.on_rate(self.rate)
