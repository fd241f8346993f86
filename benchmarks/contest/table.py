"""One task's results: each contestant's score at each cap, with intervals over rows and over searches.

Over rows: the scores of several seeds are averaged row by row, so the interval is of new rows for these searches. Over
searches: Student's t over the means of the seeds, so it is of new searches on these rows; of a difference Welch's.
Of a contestant whose version has changed only the newest version's results stand in the table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean, variance
from typing import Any

from promptstill.stats import Gain, gain, mean_interval

OURS = "ours"
ENDS_OR_NOTHING = ("simba",)  # whose result before its own end is none
Record = dict[str, Any]
Interval = tuple[float, float]


def is_shown(name: str, ended: str) -> bool:
    """Whether a result may stand beside others: calls ended the search, or it ended as it meant to."""
    return ended == "itself" or (ended != "clock" and name not in ENDS_OR_NOTHING)


def t_interval(values: Sequence[float]) -> Interval | None:
    """The 95 % interval of the mean of independent values by Student's t; None of a single one."""
    return difference_interval(values, [0.0])


def difference_interval(first: Sequence[float], second: Sequence[float]) -> Interval | None:
    """The 95 % interval of the difference of two means by Welch's t; a single value counts as known.

    None where both are single.
    """
    from scipy.stats import t

    parts = [(variance(one) / len(one), len(one) - 1) for one in (first, second) if len(one) > 1]
    if not parts:
        return None
    middle, squared = mean(first) - mean(second), sum(part for part, _ in parts)
    if squared == 0:
        return middle, middle
    freedom = squared**2 / sum(part**2 / n for part, n in parts)
    half = float(t.ppf(0.975, freedom)) * math.sqrt(squared)
    return middle - half, middle + half


@dataclass(frozen=True)
class CapResults:
    """A contestant's results at one cap, over its seeds."""

    records: list[Record]

    @property
    def seeds(self) -> set[int]:
        return {one["key"]["seed"] for one in self.records}

    @property
    def means(self) -> list[float]:
        """The score of each seed."""
        return [mean(one["result"]["test"]["scores"]) for one in self.records]

    def of_seeds(self, seeds: set[int]) -> CapResults:
        """The results of these seeds alone."""
        return CapResults([one for one in self.records if one["key"]["seed"] in seeds])

    @property
    def scores(self) -> list[float]:
        return [mean(row) for row in zip(*(one["result"]["test"]["scores"] for one in self.records), strict=True)]

    @property
    def average(self) -> float:
        return mean(self.means)

    @property
    def groups(self) -> list[str] | None:
        groups: list[str] | None = self.records[0]["result"]["test"].get("groups")
        return groups

    def mean_of(self, name: str) -> float:
        """The mean over seeds of a field of the results."""
        return mean(float(one["result"].get(name, 0)) for one in self.records)

    @property
    def unparsed(self) -> float:
        return mean(float(one["result"]["test"]["unparsed"]) for one in self.records)

    @property
    def over_rows(self) -> Interval:
        one = mean_interval(self.scores, 0, self.groups)
        return one.low, one.high

    @property
    def over_searches(self) -> Interval | None:
        """Within the scale of scores."""
        found = t_interval(self.means)
        return (max(0.0, found[0]), min(1.0, found[1])) if found else None

    @property
    def score(self) -> str:
        return f"{100 * self.average:.1f}{self.times} ({intervals(self.over_rows, self.over_searches)})"

    @property
    def times(self) -> str:
        return f" ×{len(self.seeds)}" if len(self.seeds) > 1 else ""


@dataclass(frozen=True)
class Difference:
    """How much higher a contestant scores than ours, in shares of one."""

    over_rows: Gain
    over_searches: Interval | None

    @property
    def mean(self) -> float:
        return self.over_rows.mean

    @property
    def clear(self) -> bool:
        """Whether both intervals lie above zero."""
        return self.over_rows.low > 0 and (self.over_searches is None or self.over_searches[0] > 0)

    def __str__(self) -> str:
        rows = (self.over_rows.low, self.over_rows.high)
        return f"{100 * self.mean:+.1f} ({intervals(rows, self.over_searches, '+.1f')})"


def intervals(rows: Interval, searches: Interval | None, form: str = ".0f") -> str:
    """Both intervals in points."""
    named = {"rows": rows, "searches": searches}
    return ", ".join(f"{name} {100 * one[0]:{form}} to {100 * one[1]:{form}}" for name, one in named.items() if one)


class Table:
    """One task's results, by contestant and cap: those to show, those `left_out`, and those of an `older` version."""

    def __init__(self, records: Sequence[Record], order: Sequence[str]) -> None:
        self.found: dict[tuple[str, int], list[Record]] = {}
        self.left_out: list[Record] = []
        self.older: list[Record] = []
        newest = newest_versions(records)
        for one in sorted(records, key=lambda one: int(one["key"]["seed"])):
            name, cap = one["key"]["contestant"], one["key"]["cap"]
            if one["result"].get("version", "") != newest[name]:
                self.older.append(one)
            elif not is_shown(name, one["result"].get("ended", "")):
                self.left_out.append(one)
            else:
                self.found.setdefault((name, cap), []).append(one)
        self.caps = sorted({cap for _, cap in self.found if cap})
        self.names = [name for name in order if any(who == name for who, _ in self.found)]

    def at(self, name: str, cap: int) -> CapResults | None:
        """The results at a cap, or without one."""
        return CapResults(self.found[name, cap]) if (name, cap) in self.found else None

    def best_known(self, name: str, cap: int) -> CapResults | None:
        """What a contestant has when it may use `cap` calls: without a search it needs none of them."""
        return self.at(name, cap) or self.at(name, 0)

    @property
    def searchers(self) -> list[str]:
        return [name for name in self.names if (name, 0) not in self.found]

    def minus_ours(self, name: str, cap: int) -> Difference | None:
        """`name` minus ours on the same rows: of two searchers over the seeds that both have."""
        other, own = self.best_known(name, cap), self.at(OURS, cap)
        if name == OURS or not other or not own:
            return None
        if self.at(name, cap):
            shared = other.seeds & own.seeds
            other, own = other.of_seeds(shared), own.of_seeds(shared)
        if not other.records:
            return None
        over_searches = difference_interval(other.means, own.means)
        return Difference(gain(other.scores, own.scores, 0, own.groups), over_searches)

    def last_difference(self, name: str) -> str:
        """The difference at the largest cap that both have; that cap is named where it is not the last."""
        found = {cap: one for cap in self.caps if (one := self.minus_ours(name, cap))}
        if not found:
            return ""
        cap, difference = max(found.items())
        return f"{difference}{'' if cap == self.caps[-1] else f' at {cap:,}'}"

    def above_ours(self, cap: int) -> dict[str, Difference]:
        """Whose score at a cap is above ours; the highest first."""
        pairs = {name: one for name in self.names if (one := self.minus_ours(name, cap)) and one.mean > 0}
        return dict(sorted(pairs.items(), key=lambda item: -item[1].mean))

    def is_compared(self, cap: int) -> bool:
        """Whether ours and another are measured at a cap."""
        return any(self.minus_ours(name, cap) for name in self.names)


def newest_versions(records: Sequence[Record]) -> dict[str, str]:
    """The version of each contestant's newest record."""
    by_time = sorted(records, key=lambda one: str(one["at"]))
    return {one["key"]["contestant"]: one["result"].get("version", "") for one in by_time}


def tables(records: Sequence[Record], order: Sequence[str]) -> dict[str, Table]:
    """A table for each task, its rows, and model."""
    groups: dict[str, list[Record]] = {}
    for one in records:
        groups.setdefault(heading(one["key"]), []).append(one)
    return {name: Table(group, order) for name, group in groups.items()}


def heading(key: dict[str, Any]) -> str:
    """What a table is of; `deal` is a digest of the rows by split."""
    deal = f" (deal {key['deal']})" if "deal" in key else ""
    return f"{key['task']}, rows {key['rows']}{deal}, {key['model']}"


def by_seed(table: Table, title: dict[str, str]) -> Iterator[str]:
    """Each seed's score, at each cap at which some searcher has several seeds."""
    for cap in table.caps:
        results = {name: one for name in table.searchers if (one := table.at(name, cap))}
        if any(len(one.seeds) > 1 for one in results.values()):
            texts = (f"{title[name]} {', '.join(f'{100 * m:.1f}' for m in one.means)}" for name, one in results.items())
            yield f"seed by seed at {cap:,} calls: {'; '.join(texts)}"
