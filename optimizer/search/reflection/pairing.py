"""The test that a child must pass: it answers train rows that its parent answers too, and must be better on them."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

PAIRED_ROWS = 16
FIRST_ROWS = 8  # after which a child that is behind is asked no more
LEAST_ERRORS = 1.0  # standard errors by which it must be better


def is_behind(child: Sequence[float], parent: Sequence[float]) -> bool:
    """Whether a child has a lower mean on the rows of both."""
    return sum(child) < sum(parent)


def lead(child: Sequence[float], parent: Sequence[float]) -> float:
    """The standard errors by which the child's mean is above the parent's, by their paired differences."""
    differences = [one - other for one, other in zip(child, parent, strict=True)]
    mean = fmean(differences)
    error = stdev(differences) / sqrt(len(differences)) if len(differences) > 1 else 0.0
    return mean / error if error else (0.0 if mean <= 0 else float("inf"))
