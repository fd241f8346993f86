"""How far a search has come, for whoever follows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.search.study import Trial


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
