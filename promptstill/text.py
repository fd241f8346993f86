"""Small texts for messages: counts, lists and durations."""

from __future__ import annotations

from collections.abc import Iterable


def plural(count: int, noun: str) -> str:
    """The count and its noun: `1 row`, `1,200 rows`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def one_of(words: Iterable[str]) -> str:
    """The words as a list: `a, b or c`."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def first_line(text: str) -> str:
    """The first line that is not empty."""
    return next((line for line in text.splitlines() if line.strip()), "")


def duration(seconds: float) -> str:
    """Seconds below a minute and a half, else minutes."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def p_text(p: float) -> str:
    """A p-value, never as zero: `p = 0.0312`, `p < 0.0001`."""
    return f"p = {p:.4f}" if p >= 0.00005 else "p < 0.0001"
