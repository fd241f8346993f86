"""Whose instructions are improved: the leader, and a candidate of the Pareto front by row.

A candidate that is best where the leader is wrong knows something that the leader does not (GEPA: Agrawal et al. 2025,
arXiv 2507.19457). Rows of dev choose here as they do in a race; a proposer is shown rows of train, which dev's are in a
cross-validated run.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from gepa.gepa_utils import select_program_candidate_from_pareto_front

from optimizer.search.study import Trial
from promptstill.prompt.layouts import OWN

PARENTS = 2


def pick_parents(history: Sequence[Trial], seed: str) -> list[Trial]:
    """The best trial, and one drawn from the front, where that has another instruction; none where no race has ended.

    Only trials that were raced to the end are compared, on at least half of the leader's rows, since a front has the
    same rows for all. A prompt that the user wrote whole has no instruction of its own to improve.
    """
    complete = [trial for trial in history if not trial.lost and trial.candidate.layout != OWN]
    if not complete:
        return []
    leader = max(complete, key=lambda trial: (trial.value, -trial.tokens))
    complete = [trial for trial in complete if 2 * len(trial.scores.keys() & leader.scores) >= len(leader.scores)]
    shared = set.intersection(*(set(trial.scores) for trial in complete))
    fronts = {row: front(row, complete) for row in sorted(shared)}
    telling = {row: one for row, one in fronts.items() if len(one) < len(complete)}
    if not telling:
        return [leader]
    values = [trial.value for trial in complete]
    drawn = complete[select_program_candidate_from_pareto_front(telling, values, random.Random(seed))]
    same = drawn.candidate.instruction == leader.candidate.instruction
    return [leader] if same else [leader, drawn]


def front(row: int, trials: Sequence[Trial]) -> set[int]:
    """The places of the trials that are best on a row."""
    best = max(trial.scores[row] for trial in trials)
    return {place for place, trial in enumerate(trials) if trial.scores[row] == best}
