"""What to do with the progress of slow work in tests: show it, or not."""

from __future__ import annotations

import sys


def tell(line: str) -> None:
    """A `say` whose lines `pytest -s` shows."""
    print(line, file=sys.stderr, flush=True)


def say_nothing(line: str) -> None:
    """A `say` for tests that do not look at it."""
