"""How fast the search goes, and so how long the rest of it takes; and how far it has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from optimizer.search.study import Trial
from promptstill.endpoint.allowance import Allowance
from promptstill.text import duration


class Pace:
    """Of the search, since it began in this process. What it takes from stored calls alone is not counted.

    Work inside `untimed` (asking for more choices) counts neither in time nor in calls.
    """

    def __init__(self, allowance: Allowance, clock: Callable[[], float] = time.monotonic) -> None:
        self.allowance, self._clock = allowance, clock
        self._began, self._calls_before, self._done_before = clock(), allowance.total.calls, 0

    @contextmanager
    def untimed(self) -> Iterator[None]:
        began, calls = self._clock(), self.allowance.total.calls
        try:
            yield
        finally:
            self._began += self._clock() - began
            self._calls_before += self.allowance.total.calls - calls

    def note(self, done: int) -> None:
        """So many trials are done. Those that took no call were stored by an earlier part of the run."""
        if self.allowance.total.calls == self._calls_before:
            self._done_before, self._began = done, self._clock()

    @property
    def seconds_per_call(self) -> float:
        """0 where the search has made no call."""
        made = self.allowance.total.calls - self._calls_before
        return (self._clock() - self._began) / made if made > 0 else 0.0

    def estimate(self, calls: int) -> str:
        """How long so many calls take, for a sentence; empty where nothing is known."""
        seconds = self.seconds_per_call
        return f", about {duration(calls * seconds)} at the search's pace" if seconds else ""

    def left(self, done: int, trials: int | None) -> tuple[float | None, str]:
        """Seconds until the trials are done, or until a limit ends the search before, and that limit's option. trials:
        None where limits alone end it."""
        made = done - self._done_before
        if made <= 0:
            return None, ""
        left = {} if trials is None else {"": (self._clock() - self._began) / made * (trials - done)}
        if self.seconds_per_call:
            left |= {limit.option: s for limit, s in self.allowance.seconds_left(self.seconds_per_call).items()}
        first = min(left, key=left.__getitem__, default="")
        return (max(left[first], 0.0), first) if left else (None, "")


@dataclass(frozen=True)
class SearchProgress:
    """Where the search stands, in trials and in dev rows: those evaluated, and those of all trials without racing."""

    done: int
    best: Trial | None
    rows_evaluated: int
    rows_in_full: int


def progress_of(trials: Sequence[Trial], rows: int) -> SearchProgress:
    """By its trials so far. rows: of dev."""
    best = max((trial for trial in trials if not trial.lost), key=lambda trial: trial.value, default=None)
    evaluated = sum(len(trial.scores) for trial in trials)
    return SearchProgress(len(trials), best, evaluated, len(trials) * rows)
