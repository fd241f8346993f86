"""What so many test rows can show: how often the rule finds a true gain, and how many rows an open question needs.

Runs are drawn whose true gain is known, and the rule itself says in how many of them the gain holds (`Gain.holds`). An
answer is right or wrong, and every row stands alone.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from math import ceil

import numpy as np

from promptstill.stats import ALPHA, FOLDS_ERROR, MIN_GROUPS, Gain, t_interval, t_quantile
from promptstill.text import plural

DRAWS = 20_000
DISAGREE = 0.1  # the share of rows, beside the gain itself, on which one of two prompts is right
HIGH = 0.8  # power, as is usual in planning a study (Cohen 1988)
MOST_ROWS = 10_000
STATED = 0.2  # the gain that is told of before a run


@cache
def power(rows: int, gain: float, disagree: float | None = None, times: int = 1) -> float:
    """The share of runs in which a true gain holds on so many test rows, from 0 to 1.

    gain: from 0 to 1. disagree: the share of rows on which the two prompts differ; `DISAGREE` above the gain if None.
    times: how many winners were evaluated on these rows.
    """
    from scipy.special import bdtr

    if rows < MIN_GROUPS:
        return 0.0
    differ = min(1.0, gain + DISAGREE if disagree is None else max(disagree, gain))
    chances = [(differ + gain) / 2, max(differ - gain, 0.0) / 2, max(1 - differ, 0.0)]
    counts = np.random.default_rng(0).multinomial(rows, chances, DRAWS)
    wins, losses = counts[:, 0], counts[:, 1]
    middle, half = t_interval((wins - losses) / rows, (wins + losses) / rows, rows, t_quantile(rows))
    p = 2 * bdtr(losses, wins + losses, 0.5)  # the permutation test, exact for right or wrong
    return float(np.mean((middle > half) & (times * p <= ALPHA)))


def power_line(rows: int, *, folds: bool = False) -> str:
    """How often so many test rows find a gain of `STATED` that is there. folds: whether they are of a cross-validation,
    whose wider interval makes them worth fewer."""
    worth = int(rows / FOLDS_ERROR**2) if folds else rows
    found, differ = round(100 * power(worth, STATED)), 100 * (STATED + DISAGREE)
    often = f"{found}" if found < 100 else "more than 99"
    return (
        f"with {plural(rows, 'test row')} a true gain of {100 * STATED:.0f} points is found {often} times of 100, "
        f"if the two prompts answer {differ:.0f} % of the rows differently"
    )


@cache
def rows_to_settle(gain: float, spread: float, times: int = 1) -> int | None:
    """The test rows in all on which a true gain of this size would hold in `HIGH` of the runs; None above `MOST_ROWS`.

    gain: above 0, at most 1. spread: of the paired differences (`Gain.spread`). times: as for `power`.
    """
    size, disagree = as_right_or_wrong(gain, spread)

    def enough(rows: int) -> bool:
        return power(rows, size, disagree, times) >= HIGH

    rows = bisect_left(range(MOST_ROWS + 1), True, key=enough)
    return rows if rows <= MOST_ROWS else None


def as_right_or_wrong(gain: float, spread: float) -> tuple[float, float]:
    """A gain and a share of differing rows, of answers that are right or wrong, that are told apart as easily as a mean
    difference and its spread."""
    square = gain**2 + spread**2
    scale = 1.0 if gain <= square <= 1 else square**0.5  # graded differences are as if all were of one size
    return min(gain / scale, 1.0), min(square / scale**2, 1.0)


def settle_note(gain: Gain, times: int = 1) -> str:
    """How many more test rows would settle an open question at the gain seen; empty where none is open.

    times: how many winners were evaluated on these rows.
    """
    if gain.mean <= 0 or gain.spread <= 0 or gain.differs(times):
        return ""
    seen = f"if the true gain is the {100 * gain.mean:+.1f} points seen here"
    rows = rows_to_settle(round(gain.mean, 6), round(gain.spread, 6), times)
    if rows is None:
        return f"To settle it would take more than {MOST_ROWS:,} test rows, {seen}."
    needed = max(rows, ceil(gain.n * MIN_GROUPS / gain.worth)) - gain.n
    if needed <= 0:
        return f"As many test rows again settle it in {100 * HIGH:.0f} of 100 runs, {seen}."
    return f"About {round_up(needed):,} more labelled test rows would settle it, {seen}."


def round_up(rows: int) -> int:
    """To two digits: the figure is no more exact."""
    step: int = 10 ** max(len(str(rows)) - 2, 0)
    return ceil(rows / step) * step
