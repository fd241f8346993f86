"""What a command tells while it works: events, and the listener that hears them.

A listener is any callable that takes an event: the terminal's (promptstill/command/listeners.py), a notebook's, a
tracker's. Events are values; the work never depends on who hears them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Say = Callable[[str], None]


@dataclass(frozen=True)
class Message:
    """A sentence for the user."""

    text: str


@dataclass(frozen=True)
class StepStarted:
    """A long step begins: `total` things to do, None where that is not known yet."""

    name: str
    total: int | None = None


@dataclass(frozen=True)
class StepProgress:
    """`done` of `total` things of a step are done; `text` has its figures, where it has any."""

    name: str
    done: int
    total: int
    text: str = ""


@dataclass(frozen=True)
class StepEnded:
    """A long step has ended, also by an error."""

    name: str


@dataclass(frozen=True)
class GenerationEnded:
    """A generation of the search has ended.

    trials: of the search in all; None where calls end it. best, choices: the score on dev from 0 to 1 and the choices
    of the best trial so far; None before there is one.
    rows_evaluated, rows_in_full: dev rows that trials were evaluated on, and would have been without racing.
    seconds_left: until the trials are done or a limit ends the search, whose option is `limit`; None where unknown.
    """

    done: int
    trials: int | None
    best: float | None
    choices: Mapping[str, str | int]
    rows_evaluated: int
    rows_in_full: int
    calls: int
    tokens: int
    seconds_left: float | None = None
    limit: str = ""

    @property
    def count(self) -> str:
        """How many trials are done, and of how many, where that is known."""
        return f"trial {self.done}" if self.trials is None else f"trial {self.done}/{self.trials}"


Event = Message | StepStarted | StepProgress | StepEnded | GenerationEnded
Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """A listener that shows nothing."""


def teller(listener: Listener) -> Say:
    """`listener` as a function of sentences."""
    return lambda text: listener(Message(text))
