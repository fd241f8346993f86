"""How much a search may ask where no number of trials is given."""

from __future__ import annotations

from collections.abc import Mapping

LIGHT = "light"
EFFORTS: Mapping[str, int] = {LIGHT: 500, "medium": 1_500, "heavy": 5_000}  # calls, beside those that read test


def next_effort(effort: str | None) -> str | None:
    """The next greater one; None after the last, and of none."""
    names = list(EFFORTS)
    return names[names.index(effort) + 1] if effort in names[:-1] else None
