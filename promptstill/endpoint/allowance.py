"""What a run may spend, and what it has spent: calls, tokens, money and minutes of all roles, counted in one place."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from promptstill.endpoint.store import Total
from promptstill.errors import UserError

Kind = Literal["calls", "effort", "tokens", "usd", "minutes"]
OF_SEARCH = ("effort", "minutes")  # these end a search, not the reading of test
JUDGE, PROPOSER = "judge", "proposer"  # roles that may be another model, with a price of its own
NO_PRICE = (0.0, 0.0)
Price = tuple[float, float]  # USD per million prompt tokens, and reply tokens


@dataclass(frozen=True)
class Limit:
    """One limit: of what, and how much."""

    kind: Kind
    value: float

    @property
    def option(self) -> str:
        """The option that sets it."""
        return "--effort" if self.kind == "effort" else f"--max-{self.kind}"

    @property
    def amount(self) -> str:
        """Its value as the option takes it."""
        return f"{self.value:.12g}"

    def __str__(self) -> str:
        return self.option if self.kind == "effort" else f"{self.option} {self.amount}"


class LimitReached(Exception):
    """A limit allows no further call; what is finished stays valid."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(str(limit))
        self.limit = limit


@dataclass(frozen=True)
class Limits:
    """What the user allows, all roles together; None is no limit.

    effort: calls that a search of some effort takes, with those held for test; a judge's do not count. minutes: of the
    search. The test split is read after it, and takes its own time. price: of every role that has none of its own in
    role_prices, but a judge, whose model the recipe names.
    """

    calls: int | None = None
    effort: int | None = None
    tokens: int | None = None
    usd: float | None = None
    minutes: float | None = None
    price: Price = NO_PRICE
    role_prices: Mapping[str, Price] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Limits:
        prices = {role: to_price(one) for role, one in value.get("role_prices", {}).items()}
        return cls(**{**value, "price": to_price(value["price"]), "role_prices": prices})

    def each(self) -> list[Limit]:
        """Those that are set."""
        return [Limit(kind, value) for kind in get_args(Kind) if (value := getattr(self, kind)) is not None]

    @property
    def most_calls(self) -> int | None:
        """What calls and effort allow together."""
        return min((one for one in (self.calls, self.effort) if one is not None), default=None)

    def check(self) -> None:
        """Refuse a limit of money where nothing has a price. Raises `UserError`."""
        if self.usd is not None and not any(self.price) and not self.role_prices:
            raise UserError(
                "--max-usd needs prices.",
                "Without them no call costs anything.",
                "Add --price PROMPT,COMPLETION in USD per million tokens, such as --price 0.15,0.60.",
            )

    def split(self, parts: int) -> Limits:
        """What each of so many equal parts may spend. Minutes are the same for all: they work side by side."""
        counted = ("calls", "effort", "tokens")
        whole = {name: value // parts for name in counted if (value := getattr(self, name)) is not None}
        return replace(self, **whole, usd=None if self.usd is None else self.usd / parts)

    def cost(self, total: Total, role: str = "task") -> float:
        """USD."""
        prompt, completion = self.role_prices.get(role, NO_PRICE if role == JUDGE else self.price)
        return (total.prompt_tokens * prompt + total.completion_tokens * completion) / 1e6


def to_price(value: Sequence[float]) -> Price:
    """A price as JSON holds it."""
    prompt, completion = value
    return float(prompt), float(completion)


class Allowance:
    """Counts by role, and refuses the call that would break a limit. Several threads may share one.

    A judge's calls count too; but it is asked within a metric, once its row is answered, so that a limit may be passed
    by as many of its calls as are in flight. `total` is of all other roles: what the run itself has asked.
    spent: what earlier parts of the run cost, by role. seconds: how long they worked.
    held: calls set aside for the test split; the search may not spend them.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        spent: Mapping[str, Total] | None = None,
        *,
        held: int = 0,
        seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits or Limits()
        self.spent = dict(spent or {})
        self.held = held
        self.reused = 0
        self._in_flight, self._free = 0, tuple[str, ...]()
        self._clock, self._began = clock, clock() - seconds
        self._lock = threading.Lock()

    @property
    def total(self) -> Total:
        """Of all roles but the judge's."""
        return sum((cost for role, cost in self.spent.items() if role != JUDGE), Total())

    @property
    def judge_cost(self) -> Total:
        """What judges have cost."""
        return self.spent.get(JUDGE, Total())

    @property
    def usd(self) -> float:
        return sum(self.usd_by_role.values())

    @property
    def usd_by_role(self) -> dict[str, float]:
        return {role: self.limits.cost(cost, role) for role, cost in sorted(self.spent.items())}

    @property
    def seconds(self) -> float:
        """Of work so far, earlier parts of the run included."""
        return self._clock() - self._began

    def reserve(self) -> None:
        """Take leave for one call, keeping free what the held calls will cost. Raises `LimitReached`."""
        with self._lock:
            for limit, used in self._used(self.total.calls + self._in_flight).items():
                if used >= limit.value:
                    raise LimitReached(limit)
            self._in_flight += 1

    def release(self) -> None:
        """The reserved call has ended, paid or not."""
        with self._lock:
            self._in_flight -= 1

    @contextmanager
    def reserved(self, calls: int) -> Iterator[int]:
        """Leave for as many of these calls as the limits allow. Raises `LimitReached` where they allow none."""
        allowed = 0
        try:
            for _ in range(calls):
                with suppress(*([LimitReached] if allowed else [])):
                    self.reserve()
                    allowed += 1
            yield allowed
        finally:
            for _ in range(allowed):
                self.release()

    def pay(self, role: str, cost: Total) -> None:
        """Count a call that was answered and stored."""
        with self._lock:
            # A new dict: another thread may be adding up the old one.
            self.spent = self.spent | {role: self.spent.get(role, Total()) + cost}

    def reuse(self) -> None:
        """Count a reply that was stored already."""
        with self._lock:
            self.reused += 1

    def begin_test(self) -> None:
        """The search is over: the held calls are free, and what limits the search alone counts no more."""
        self.held, self._free = 0, OF_SEARCH

    def end_test(self) -> None:
        """What comes after test is the search's again, but for its minutes."""
        self._free = ("minutes",)

    def room(self, least: int) -> float:
        """The calls that all limits leave the search. Raises `LimitReached` where one leaves fewer than `least`."""
        left = self.calls_left()
        tightest = min(left, key=left.__getitem__, default=None)
        if tightest is None:
            return math.inf
        if left[tightest] < least:
            raise LimitReached(tightest)
        return left[tightest]

    def calls_left(self) -> dict[Limit, float]:
        """The calls that each limit leaves the search, at the mean cost so far."""
        calls = self.total.calls
        left = {}
        for limit, used in self._used(calls).items():
            if limit.kind == "minutes":
                left[limit] = calls * (limit.value / used - 1) if used and calls else math.inf
            elif used:
                left[limit] = (calls + self.held) * (limit.value / used - 1)
        return left

    def seconds_left(self, pace: float) -> dict[Limit, float]:
        """Until each limit ends the search, at `pace` seconds a call."""
        left = {limit: calls * pace for limit, calls in self.calls_left().items() if limit.kind != "minutes"}
        minutes = [limit for limit in self.limits.each() if limit.kind == "minutes"]
        return left | {limit: 60 * limit.value - self.seconds for limit in minutes}

    def record(self) -> dict[str, Any]:
        """What was spent, by role, for files."""
        roles = {role: asdict(total) for role, total in sorted(self.spent.items())}
        usd = {"usd": self.usd, "usd_by_role": self.usd_by_role}
        return {"roles": roles, "total": asdict(self.total), "reused": self.reused, **usd}

    def _used(self, calls: int) -> dict[Limit, float]:
        """What so many calls and the held ones bring each limit to, those to come at the mean cost so far."""
        share = (calls + self.held) / max(self.total.calls, 1)
        judged = 1 + self.judge_cost.calls / max(self.total.calls, 1)  # calls in all to each of the run's own
        used: dict[Kind, float] = {
            "calls": (calls + self.held) * judged,
            "effort": calls + self.held,
            "tokens": (self.total + self.judge_cost).tokens * share,
            "usd": self.usd * share,
            "minutes": self.seconds / 60,
        }
        limits = [limit for limit in self.limits.each() if limit.kind not in self._free]
        return {limit: used[limit.kind] for limit in limits}


class AllowancePart(Allowance):
    """One of `parts` equal parts of an allowance, for searches side by side. What is spent here is spent there too, and
    the limit that it names is that of the whole.

    spent: what this part cost in earlier parts of the run, by role.
    """

    def __init__(self, whole: Allowance, parts: int, spent: Mapping[str, Total]) -> None:
        limits, held = whole.limits.split(parts), whole.held // parts
        super().__init__(limits, spent, held=held, seconds=whole.seconds)
        self._whole = whole

    def reserve(self) -> None:
        with self._naming_whole():
            super().reserve()
        try:
            self._whole.reserve()
        except LimitReached:
            super().release()
            raise

    def room(self, least: int) -> float:
        with self._naming_whole():
            return super().room(least)

    def release(self) -> None:
        super().release()
        self._whole.release()

    def pay(self, role: str, cost: Total) -> None:
        super().pay(role, cost)
        self._whole.pay(role, cost)

    def reuse(self) -> None:
        super().reuse()
        self._whole.reuse()

    @contextmanager
    def _naming_whole(self) -> Iterator[None]:
        try:
            yield
        except LimitReached as reached:
            limit = next(one for one in self._whole.limits.each() if one.kind == reached.limit.kind)
            raise LimitReached(limit) from reached
