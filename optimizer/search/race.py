"""Racing: after each block of dev rows, which trials of a generation go on?

Two rules. A trial that is worse than the incumbent by a paired test is dropped (Optuna's `WilcoxonPruner`: Wilcoxon
signed-rank on the rows that both have seen). And of a generation only the better half goes on after the first block, a
quarter after the second (successive halving: Jamieson & Talwalkar 2016).

Why both: the test alone lets the mediocre run on, since few rows tell little; halving alone lets a plainly bad one of a
small field run on, and one that is worse than a trial of an earlier generation.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import optuna
from optuna.pruners import WilcoxonPruner
from optuna.trial import TrialState, create_trial

GENERATION = 8  # candidates that race together; the first race has all starters
MIN_GENERATION = 2  # candidates in a generation that a limit leaves no more room for
P_THRESHOLD = 0.1
FIRST_BLOCK = 16  # also the rows below which the test drops none; scipy's takes seconds on 9 to 13 with ties
MIN_FITTED_BLOCK = 8  # rows of a first block that is fitted to few calls
Scores = Mapping[int, float]


def is_worse(scores: Scores, incumbent: Scores) -> bool:
    """Whether `scores` (by row) are worse than the incumbent's on the rows that both have, by the paired test."""
    common = sorted(scores.keys() & incumbent.keys())
    if not common:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        pruner = WilcoxonPruner(p_threshold=P_THRESHOLD, n_startup_steps=FIRST_BLOCK)
    # The pruner compares with the best trial of a study, so it gets a study of one.
    study = optuna.create_study(direction="maximize", pruner=pruner)
    reference = {row: incumbent[row] for row in common}
    study.add_trial(create_trial(value=average(reference), intermediate_values=reference, state=TrialState.COMPLETE))
    trial = create_trial(state=TrialState.RUNNING, intermediate_values={row: scores[row] for row in common})
    return pruner.prune(study, trial)


def projected_score(scores: Scores, incumbent: Scores) -> float:
    """A trial's expected mean over all rows, from the rows it has: the incumbent's mean plus the paired difference.

    Its own mean would mislead: blocks differ in how hard their rows are, and TPE compares trials of different length.
    """
    common = scores.keys() & incumbent.keys()
    if not common or len(scores) >= len(incumbent):
        return average(scores)
    difference = sum(scores[row] - incumbent[row] for row in common) / len(common)
    return max(0.0, average(incumbent) + difference)


def average(scores: Scores) -> float:
    """The mean of the scores; 0.0 for none."""
    return sum(scores.values()) / len(scores) if scores else 0.0


def blocks(rows: int) -> list[range]:
    """The rows in three blocks that grow as the field thins: an eighth (16 at least), twice that, and the rest.

    A last block of less than half the first would tell nothing: it is joined to the one before.
    """
    first = max(FIRST_BLOCK, rows // 8)
    ends = [end for end in (first, 3 * first) if end <= rows - first // 2]
    return [range(start, end) for start, end in zip([0, *ends], [*ends, rows], strict=True)]


def fitted_blocks(count: int, rows: int, calls: int) -> list[range]:
    """The blocks of a generation of `count` whose race over all rows costs more than `calls`: a third of them each.

    So who goes on is chosen on few rows, and the last two meet on many (sequential halving: Karnin et al. 2013).
    """
    first = max(MIN_FITTED_BLOCK, calls // (3 * count))
    half = max(0, calls - first * count) // 2
    second = first + half // survivors(count, 0)
    ends = [min(end, rows) for end in (first, second, second + half // survivors(count, 1))]
    return [range(start, end) for start, end in zip([0, *ends], ends, strict=False) if start < end]


def max_rows(count: int, rows: int) -> int:
    """The dev rows that a racing generation of `count` is evaluated on at most, all together."""
    each = [count, *(survivors(count, block) for block in range(len(blocks(rows)) - 1))]
    return sum(trials * len(block) for trials, block in zip(each, blocks(rows), strict=True))


def survivors(count: int, block: int) -> int:
    """How many of a generation of `count` may go on after block number `block` (from 0)."""
    return -(-count >> (block + 1))  # rounded up


def later_generations(trials: int, first: int, size: int = GENERATION) -> int:
    """The generations of `size` after the first, of `first` candidates, that so many trials make."""
    return -(-max(0, trials - first) // size)
