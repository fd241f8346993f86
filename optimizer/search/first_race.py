"""How many calls the limits leave to a first race. What it is reckoned from is noted, so that a killed run finds the
same number."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.search.study import StoredStudy
from promptstill.endpoint.allowance import Allowance, Limit
from promptstill.endpoint.store import Total


@dataclass(frozen=True)
class RaceLimit:
    """The calls that a limit leaves to a first race."""

    calls: int
    limit: Limit


def limit_by_calls(allowance: Allowance, study: StoredStudy) -> RaceLimit | None:
    """By `--max-calls`, known before the first call of the race; None without that limit.

    What the calls must pay besides (probes, the test split) is stored the first time that it is asked for.
    """
    for limit in allowance.limits.each():
        if limit.kind == "calls":
            others = allowance.total.calls - task_calls(allowance)
            besides = int(study.first_note("calls besides the search", str(others + allowance.held)))
            return RaceLimit(int(limit.value) - besides, limit)
    return None


def limits_by_cost(allowance: Allowance, study: StoredStudy, worker: int) -> list[RaceLimit]:
    """By tokens, money and minutes, at what a call has cost this worker so far: so some of the race must be asked."""
    limits = []
    for limit, left in allowance.calls_left().items():
        if limit.kind != "calls":
            calls = int(min(task_calls(allowance) + left, allowance.total.calls + 1e9))
            topic = f"calls of the first race of {worker}, {limit}"
            limits.append(RaceLimit(int(study.first_note(topic, str(calls))), limit))
    return limits


def task_calls(allowance: Allowance) -> int:
    """The calls that the task's model has answered for the search."""
    return allowance.spent.get("task", Total()).calls
