"""How many calls the limits leave to a first race. What it is reckoned from is noted, so that a killed run finds the
same number.

A first race may take `FIRST_SHARE` of them: what is searched with the others starts from its winners, and a race that
took all would leave nothing to learn with.
"""

from __future__ import annotations

import math

from optimizer.search.study import StoredStudy
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.store import Total

FIRST_SHARE = 0.35


def calls_by_count(allowance: Allowance, study: StoredStudy, *, judged: bool) -> list[int]:
    """By `--max-calls` and `--effort`, known before the first call of the race. judged: whether the metric asks a
    judge: how many of the calls are its own then, only the first rows tell, but for an effort, which counts none.

    What the calls must pay besides (probes, the test split) is stored the first time that it is asked for.
    """
    limits = allowance.limits
    counted = [one for one in (limits.effort, None if judged else limits.calls) if one is not None]
    if not counted:
        return []
    others = allowance.total.calls - task_calls(allowance)
    besides = int(study.first_note("calls besides the search", str(others + allowance.held)))
    return [one - besides for one in counted]


def calls_by_cost(allowance: Allowance, study: StoredStudy, worker: int, *, judged: bool) -> list[int]:
    """By tokens, money and minutes, at what a call has cost this worker so far: so some of the race must be asked.

    judged: whether the metric asks a judge; then by calls too.
    """
    found = []
    for limit, left in allowance.calls_left().items():
        # Infinite: no time has passed that tells a call's.
        if math.isfinite(left) and (limit.kind not in ("calls", "effort") or (judged and limit.kind == "calls")):
            topic = f"calls of the first race of {worker}, {limit}"
            found.append(int(study.first_note(topic, str(int(task_calls(allowance) + left)))))
    return found


def task_calls(allowance: Allowance) -> int:
    """The calls that the task's model has answered for the search."""
    return allowance.spent.get("task", Total()).calls
