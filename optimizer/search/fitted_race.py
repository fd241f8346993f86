"""How many calls the limits leave to a race. What it is reckoned from is noted, so that a killed run finds the same
number.

A first race may take `FIRST_SHARE` of them: what is searched with the others starts from its winners, and a race that
took nearly all would leave nothing to learn with. Before a later race the sources of choices may take `SOURCES_SHARE`
of what is left, and the race `LATER_SHARE` of the rest: several small generations learn from each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.search.calibrating import CandidateCalibrator
from optimizer.search.growth import SpaceGrowth
from optimizer.search.playoff import playoff_calls
from optimizer.search.race import MIN_FITTED_BLOCK, MIN_GENERATION
from optimizer.search.racing_trial import missing_rows
from optimizer.search.study import Generation, StoredStudy
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.client import Client
from promptstill.endpoint.store import Total
from promptstill.task.metrics import is_judge

FIRST_SHARE, LATER_SHARE = 0.35, 0.35
SOURCES_SHARE = 0.5  # of what is left, that a round of the sources may take before a later race
LEAST_ROWS = 64  # of a later race, all together: what fewer tell is noise


@dataclass(frozen=True)
class FittedRace:
    """A race over fewer than all rows. calls: that it may take. is_all: whether these are all that there are, so that a
    higher limit would have had it otherwise."""

    calls: int
    is_all: bool


def fit_first_race(calls: float, whole: int, *, more: bool) -> FittedRace | None:
    """The first race that so many calls pay for; None for a whole one. more: whether others come after it. Of calls
    that do not even pay for a whole one it takes all: what was never raced is a poor guide to others."""
    if calls < whole:
        return FittedRace(int(calls), is_all=True)
    return FittedRace(int(FIRST_SHARE * calls), is_all=False) if more and FIRST_SHARE * calls < whole else None


def least_rows(task: SearchTask, count: int) -> int:
    """The dev rows that the smallest later generation of up to `count` candidates takes, all together."""
    whole = task.max_rows(min(MIN_GENERATION, count))
    return min(LEAST_ROWS, whole) if task.race else whole


def fit_generation(
    task: SearchTask, count: int, calls: float, draws: int, each: int = 0, *, more: bool = True
) -> Generation:
    """The later generation of up to `count` candidates that so many calls pay for, at least those of the smallest.
    draws: calls of a row. each: calls that a candidate takes besides its rows. more: whether others come after it;
    without racing it has all that the calls pay for in any case."""
    least, first = min(MIN_GENERATION, count), min(2 * MIN_FITTED_BLOCK, len(task.dev))
    shared = max(LATER_SHARE * calls, draws * least_rows(task, count) + each * least)
    taken = min(calls, shared) if more and task.race else calls
    sizes = range(least, count + 1)
    whole = max((size for size in sizes if draws * task.max_rows(size) + each * size <= taken), default=0)
    if whole == count or not task.race:
        return Generation(max(whole, least))
    size = max(least, min(count, int(taken / (draws * first + each))))
    return Generation(whole) if whole >= size else Generation(size, int(taken) - each * size)


@dataclass(frozen=True)
class LaterRace:
    """The later races of one worker of a study, and what comes before each: a round of the sources, and calibration."""

    task: SearchTask
    client: Client
    study: StoredStudy
    growth: SpaceGrowth | None
    calibrating: CandidateCalibrator | None

    def fit(self, name: str, count: int, *, more: bool) -> Generation:
        """The generation `name` of up to `count` candidates that the limits pay for, beside what completes the best
        trial and compares finalists. What comes before it is fitted to what the smallest leaves. Raises `LimitReached`
        where not even that is paid for."""
        task, allowance, draws = self.task, self.client.allowance, self.client.draws
        besides = playoff_calls(task, allowance.room(0) / draws) + missing_rows(task, self.study.trials())
        least, each = draws * (besides + least_rows(task, count)), 0
        room = allowance.room(least)
        if self.calibrating:
            fewest = min(MIN_GENERATION, count)
            room -= self.calibrating.fit(name, room - least, fewest)
            each = self.calibrating.max_calls if self.calibrating.is_due(name) else 0
            least += each * fewest
        if self.growth:
            room -= self.growth.fit(name, min(room - least, SOURCES_SHARE * (room - draws * besides)))
        return fit_generation(task, count, room - draws * besides, draws, each, more=more)


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
