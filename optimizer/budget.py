"""What a run may spend, and what it has spent."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from optimizer.calls import Total
from optimizer.errors import BudgetReached


@dataclass(frozen=True)
class Budget:
    """Limits over all roles together; None is no limit. `price` is USD per million prompt and completion tokens."""

    calls: int | None = None
    tokens: int | None = None
    usd: float | None = None
    minutes: float | None = None
    price: tuple[float, float] = (0.0, 0.0)


@dataclass
class Meter:
    """Counts calls and tokens by role, and refuses the call that would break the budget.

    `held` is set aside for the final reading of test: the search may not spend it.
    """

    budget: Budget
    spent: dict[str, Total]
    hits: int = 0
    in_flight: int = 0
    held: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def total(self) -> Total:
        return sum(self.spent.values(), Total())

    @property
    def usd(self) -> float:
        total, (prompt, completion) = self.total, self.budget.price
        return (total.prompt_tokens * prompt + total.completion_tokens * completion) / 1e6

    @property
    def minutes(self) -> float:
        return (time.monotonic() - self.started) / 60

    def reserve(self) -> None:
        """Take leave for one call, keeping free what `held` calls will cost. Raises `BudgetReached` with the limit."""
        for option, (used, limit) in self._limits(self.total.calls + self.in_flight).items():
            if used >= limit:
                raise BudgetReached(f"{option} {limit:.12g}")
        self.in_flight += 1

    def room(self, least: int) -> float:
        """The calls that all budgets leave the search. Raises `BudgetReached` with the limit that leaves too few."""
        left = self.calls_left()
        option = min(left, key=left.__getitem__, default=None)
        if option is None:
            return math.inf
        if left[option] < least:
            raise BudgetReached(f"{option} {self._limits(self.total.calls)[option][1]:.12g}")
        return left[option]

    def calls_left(self) -> dict[str, float]:
        """The calls that each budget leaves the search, by its option, each at the mean cost so far."""
        calls = self.total.calls
        limits = self._limits(calls)
        return {name: (calls + self.held) * (limit / used - 1) for name, (used, limit) in limits.items() if used}

    def seconds_left(self, pace: float) -> dict[str, float]:
        """Until each budget ends the search, by its option, at `pace` seconds a call."""
        left = {name: calls * pace for name, calls in self.calls_left().items()}
        if "--max-minutes" in left:
            used, limit = self._limits(self.total.calls)["--max-minutes"]
            left["--max-minutes"] = 60 * (limit - used)
        return left

    def _limits(self, calls: int) -> dict[str, tuple[float, float]]:
        """Each budget by its option: what so many calls and the `held` ones bring it to, and its limit."""
        share = (calls + self.held) / max(calls, 1)
        limits: Mapping[str, tuple[float, float | None]] = {
            "--max-calls": (calls + self.held, self.budget.calls),
            "--max-tokens": (self.tokens * share, self.budget.tokens),
            "--max-usd": (self.usd * share, self.budget.usd),
            "--max-minutes": (self.minutes * share, self.budget.minutes),
        }
        return {option: (used, limit) for option, (used, limit) in limits.items() if limit is not None}

    def release(self) -> None:
        """The reserved call ended, paid or not."""
        self.in_flight -= 1

    def pay(self, role: str, cost: Total) -> None:
        """Count a call that was answered and stored."""
        self.spent[role] = self.spent.get(role, Total()) + cost

    @property
    def tokens(self) -> int:
        return self.total.prompt_tokens + self.total.completion_tokens
