"""What to do with the progress of slow work in tests: show it, or not."""

from __future__ import annotations

import sys

from rich.console import Console, RenderableType


def tell(line: str) -> None:
    """A `say` whose lines `pytest -s` shows."""
    print(line, file=sys.stderr, flush=True)


def say_nothing(line: str) -> None:
    """A `say` for tests that do not look at it."""


def printed(shown: RenderableType) -> str:
    """What a terminal of 80 columns shows, long lines whole."""
    console = Console(width=80, highlight=False)
    with console.capture() as capture:
        console.print(shown, crop=False)
    return capture.get()
