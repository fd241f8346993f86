"""Tells the user how many requests a minute an endpoint allows, and how long the rest takes at that."""

from __future__ import annotations

from promptstill.endpoint.allowance import Allowance
from promptstill.events import Say
from promptstill.text import duration

NEW_RATE = 1.25  # a rate that differs so much from the one told is told too


class RateNotice:
    """Tells how many requests an endpoint allows, when that is learned and when it has changed.

    most_calls: of the whole run, calls already made included; None while they are not known.
    """

    def __init__(self, allowance: Allowance, say: Say, most_calls: int | None = None) -> None:
        self.allowance, self.most_calls, self._say, self._told = allowance, most_calls, say, 0.0

    def __call__(self, rate: float) -> None:
        """rate: in requests a second."""
        if self._told and 1 / NEW_RATE < rate / self._told < NEW_RATE:
            return
        self._told = rate
        left = ""
        if self.most_calls is not None:
            seconds = max(self.most_calls - self.allowance.total.calls, 0) / rate
            left = f": at most {duration(seconds)} left"
        self._say(f"the endpoint allows about {60 * rate:.0f} requests a minute{left}")
