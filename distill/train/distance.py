"""How far two lists of log-probabilities differ. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence


def largest_difference(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """The largest absolute difference, token by token. Raises `ValueError` for other shapes, or without a token."""
    pairs = [pair for x, y in zip(one, other, strict=True) for pair in zip(x, y, strict=True)]
    return max(abs(a - b) for a, b in pairs)
