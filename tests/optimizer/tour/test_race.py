"""Why a trial was dropped, told from its rows and those of the trials beside it."""

from __future__ import annotations

from optimizer.search.candidate import Candidate
from optimizer.search.study import Trial
from optimizer.tour.race import fate

DEV = 57  # rows; a race asks 16 of them, then 48, then all


def trial(slot: int, score: float, rows: int) -> Trial:
    scores = dict.fromkeys(range(rows), score)
    return Trial(0, slot, Candidate("raw", "none", 1, 0), f"id{slot}", score, scores, rows < DEV, 0, 10.0, 1.0)


def test_each_trial_has_its_reason() -> None:
    first = [trial(0, 0.9, DEV), trial(1, 0.1, 16), trial(2, 0.9, 16), trial(3, 0.9, 48)]
    later = [trial(8, 0.2, 16)]
    told = [fate(one, [*first, *later], DEV) for one in (*first, *later)]
    assert told == ["to the end", "below 0", "not in best 2", "not in best 1", "below 0"]
