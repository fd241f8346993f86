"""What so many test rows can show: how often the rule finds a true gain, and how many rows an open question needs.

Runs are drawn whose true gain is known, and the rule itself says in how many of them the gain holds (`Gain.holds`). An
answer is right or wrong, and every row stands alone.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from promptstill.stats import ALPHA, MIN_GROUPS, t_interval, t_quantile

DRAWS = 20_000
DISAGREE = 0.1  # the share of rows, beside the gain itself, on which one of two prompts is right
WANTED = 0.8  # power, as is usual in planning a study (Cohen 1988)
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
    won, lost = (differ + gain) / 2, (differ - gain) / 2
    counts = np.random.default_rng(0).multinomial(rows, [won, lost, 1 - won - lost], DRAWS)
    wins, losses = counts[:, 0], counts[:, 1]
    middle, half = t_interval((wins - losses) / rows, (wins + losses) / rows, rows, t_quantile(rows))
    p = 2 * bdtr(losses, wins + losses, 0.5)  # the permutation test, exact for right or wrong
    return float(np.mean((middle > half) & (times * p <= ALPHA)))
