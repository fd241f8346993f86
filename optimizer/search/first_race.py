"""How many calls the limits leave to a first race. What it is reckoned from is noted, so that a killed run finds the
same number.

A first race may take `FIRST_SHARE` of them: what is searched with the others starts from its winners, and a race that
took nearly all would leave nothing to learn with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.search.study import StoredStudy
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.client import Client
from promptstill.endpoint.store import Total
from promptstill.task.metrics import is_judge

FIRST_SHARE = 0.35


@dataclass(frozen=True)
class FittedRace:
    """A first race over fewer than all rows. calls: that it may take. is_all: whether these are all that there are, so
    that a higher limit would have had it otherwise."""

    calls: int
    is_all: bool


def fit_first_race(calls: float, whole: int, *, more: bool) -> FittedRace | None:
    """The first race that so many calls pay for; None for a whole one. more: whether others come after it. Of calls
    that do not even pay for a whole one it takes all: what was never raced is a poor guide to others."""
    if calls < whole:
        return FittedRace(int(calls), is_all=True)
    return FittedRace(int(FIRST_SHARE * calls), is_all=False) if more and FIRST_SHARE * calls < whole else None


@dataclass(frozen=True)
class FirstRace:
    """The first race of one worker of a study."""

    task: SearchTask
    client: Client
    study: StoredStudy

    def fit(self, count: int, measured: Sequence[int] = ()) -> FittedRace | None:
        """The race of `count` candidates that the limits allow, as far as they are known; None for a whole race, and
        once it has ended. measured: what limits allow that go by what a call costs."""
        task, draws = self.task, self.client.draws
        stored = {one.slot for one in self.study.trials() if one.worker == task.worker}
        if not task.race or stored.issuperset(range(count)):
            return None
        calls = min([*measured, *self._calls_by_count()], default=math.inf)
        return fit_first_race(calls, draws * task.max_rows(count), more=task.trials > count)

    @property
    def goes_by_cost(self) -> bool:
        """Whether a limit is of what calls cost; of a metric that asks a judge, calls are too."""
        counted = ("effort",) if is_judge(self.task.metric) else ("calls", "effort")
        return self.task.race and any(one.kind not in counted for one in self.client.allowance.limits.each())

    def _calls_by_count(self) -> list[int]:
        """By `--max-calls` and `--effort`, known before the first call of the race. How many of the calls are a
        judge's, only the first rows tell; an effort counts none of them.

        What the calls must pay besides (probes, the test split) is stored the first time that it is asked for.
        """
        allowance = self.client.allowance
        limits, judged = allowance.limits, is_judge(self.task.metric)
        counted = [one for one in (limits.effort, None if judged else limits.calls) if one is not None]
        if not counted:
            return []
        others = allowance.total.calls - task_calls(allowance)
        besides = int(self.study.first_note("calls besides the search", str(others + allowance.held)))
        return [one - besides for one in counted]

    def calls_by_cost(self) -> list[int]:
        """By tokens, money and minutes, at what a call has cost this worker so far: so some of the race must be asked.
        With a judge by calls too."""
        allowance, judged, found = self.client.allowance, is_judge(self.task.metric), []
        for limit, left in allowance.calls_left().items():
            # Infinite: no time has passed that tells a call's.
            if math.isfinite(left) and limit.kind != "effort" and (judged or limit.kind != "calls"):
                topic = f"calls of the first race of {self.task.worker}, {limit}"
                found.append(int(self.study.first_note(topic, str(int(task_calls(allowance) + left)))))
        return found


def task_calls(allowance: Allowance) -> int:
    """The calls that the task's model has answered for the search."""
    return allowance.spent.get("task", Total()).calls
