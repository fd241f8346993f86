"""How many calls the limits leave to a first race. What it is reckoned from is noted, so that a killed run finds the
same number."""

from __future__ import annotations

import math

from optimizer.search.study import StoredStudy
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.store import Total


def calls_by_max_calls(allowance: Allowance, study: StoredStudy) -> int | None:
    """By `--max-calls`, known before the first call of the race; None without that limit. Not for a metric that asks a
    judge: how many of the calls are its own, only the first rows tell.

    What the calls must pay besides (probes, the test split) is stored the first time that it is asked for.
    """
    for limit in allowance.limits.each():
        if limit.kind == "calls":
            others = allowance.total.calls - task_calls(allowance)
            besides = int(study.first_note("calls besides the search", str(others + allowance.held)))
            return int(limit.value) - besides
    return None


def calls_by_cost(allowance: Allowance, study: StoredStudy, worker: int, *, judged: bool) -> list[int]:
    """By tokens, money and minutes, at what a call has cost this worker so far: so some of the race must be asked.

    judged: whether the metric asks a judge; then by calls too.
    """
    found = []
    for limit, left in allowance.calls_left().items():
        # Infinite: no time has passed that tells a call's.
        if math.isfinite(left) and (judged or limit.kind != "calls"):
            topic = f"calls of the first race of {worker}, {limit}"
            found.append(int(study.first_note(topic, str(int(task_calls(allowance) + left)))))
    return found


def task_calls(allowance: Allowance) -> int:
    """The calls that the task's model has answered for the search."""
    return allowance.spent.get("task", Total()).calls
