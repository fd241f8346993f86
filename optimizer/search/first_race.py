"""How many calls a first race may take under the limits, stored once so that a killed run finds the same number."""

from __future__ import annotations

from optimizer.search.study import StoredStudy
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.store import Total


def first_race_calls(allowance: Allowance, study: StoredStudy) -> int | None:
    """The calls that `--max-calls` leaves to the first race; None without that limit.

    What the calls must pay besides (probes, the test split) is stored the first time that it is asked for.
    """
    if allowance.limits.calls is None:
        return None
    others = allowance.total.calls - allowance.spent.get("task", Total()).calls
    return allowance.limits.calls - int(study.first_note("calls besides the search", str(others + allowance.held)))
