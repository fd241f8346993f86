"""The contest in Markdown, from its stored records alone. Scores of several seeds are averaged row by row first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from benchmarks.contestants import TIME
from optimizer.stats import Gain, estimate, gain

NAMES = {
    "seed": "seed prompt",
    "predict": "`dspy.Predict`",
    "bootstrap": "BootstrapFewShotWithRandomSearch",
    "mipro": 'MIPROv2(auto="light")',
    "gepa": "GEPA",
    "capo": "CAPO",
    "ours": "promptstill",
}
IMPOSSIBLE = {("capo", "extract"): "its answer is one text, and this task has several outputs"}
IN_FLIGHT = 64  # calls that a reached cap may leave unanswered
Record = dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """A contestant's results at one cap, over its seeds."""

    records: list[Record]

    @property
    def seeds(self) -> set[int]:
        return {one["key"]["seed"] for one in self.records}

    @property
    def means(self) -> list[float]:
        """The score of each seed."""
        return [mean(one["result"]["test"]["scores"]) for one in self.records]

    def of(self, seeds: set[int]) -> Shown:
        """What these seeds alone gave."""
        return Shown([one for one in self.records if one["key"]["seed"] in seeds])

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

    def spent(self, name: str) -> float:
        return mean(float(one["result"].get(name, 0)) for one in self.records)

    @property
    def unparsed(self) -> float:
        return mean(float(one["result"]["test"]["unparsed"]) for one in self.records)

    @property
    def score(self) -> str:
        one = estimate(self.scores, 0, self.groups)
        seeds = f" ×{len(self.seeds)}" if len(self.seeds) > 1 else ""
        return f"{100 * one.mean:.1f} ({100 * one.low:.0f} to {100 * one.high:.0f}){seeds}"


class Table:
    """One task's results, by contestant and cap."""

    def __init__(self, records: Sequence[Record], order: Sequence[str]) -> None:
        self.found: dict[tuple[str, int], list[Record]] = {}
        for one in sorted(records, key=lambda one: int(one["key"]["seed"])):
            self.found.setdefault((one["key"]["contestant"], one["key"]["cap"]), []).append(one)
        self.caps = sorted({cap for _, cap in self.found if cap})
        self.names = [name for name in order if any(who == name for who, _ in self.found)]

    def at(self, name: str, cap: int) -> Shown | None:
        return Shown(self.found[name, cap]) if (name, cap) in self.found else None

    @property
    def searchers(self) -> list[str]:
        return [name for name in self.names if (name, 0) not in self.found]

    def lines(self) -> Iterator[str]:
        """The baselines in a sentence, then a row for each searcher."""
        for name in self.names:
            bare = self.at(name, 0)
            if bare:
                yield f"- {title(name)}, no search: **{bare.score}**, {bare.unparsed:.0%} unparsed"
        yield ""
        heads = [f"{cap:,} calls" for cap in self.caps]
        spending = ["calls", "prompt tokens", "reply tokens", "seconds", "unparsed"]
        columns = ["contestant", *heads, *spending, f"minus {NAMES['ours']}"]
        yield "| " + " | ".join(columns) + " |"
        yield "|---" * len(columns) + "|"
        for name in self.searchers:
            shown = [self.at(name, cap) for cap in self.caps]
            last = next(one for one in reversed(shown) if one)
            spent = [f"{last.spent(what):,.0f}" for what in ("calls", "prompt_tokens", "completion_tokens", "seconds")]
            cells = [one.score if one else "" for one in shown]
            yield f"| {' | '.join([title(name), *cells, *spent, f'{last.unparsed:.0%}', self.behind(name)])} |"

    def behind(self, name: str) -> str:
        """The paired difference to ours at the largest cap that both have, which is named where it is not the last."""
        pairs = {cap: pair for cap in self.caps if name != "ours" and (pair := self.versus(name, cap))}
        if not pairs:
            return ""
        cap, pair = max(pairs.items())
        at = "" if cap == self.caps[-1] else f" at {cap:,}"
        return f"{100 * pair.mean:+.1f} ({100 * pair.low:+.1f} to {100 * pair.high:+.1f}){at}"

    def versus(self, name: str, cap: int) -> Gain | None:
        """`name` minus ours on the same rows, over the seeds that both have."""
        other, own = self.at(name, cap), self.at("ours", cap)
        shared = other.seeds & own.seeds if other and own else None
        if not (other and own and shared):
            return None
        return gain(other.of(shared).scores, own.of(shared).scores, 0, own.groups)

    def contested(self, cap: int) -> bool:
        """Whether ours and some peer are measured at a cap."""
        return any(self.versus(name, cap) for name in self.searchers if name != "ours")

    def ahead(self, cap: int) -> list[str]:
        """Who beats ours at a cap beyond doubt."""
        pairs = {name: self.versus(name, cap) for name in self.searchers if name != "ours"}
        return [name for name, pair in pairs.items() if pair and pair.low > 0]

    def ends(self, name: str) -> list[Record]:
        """Each seed's last result, where something was scored and neither a cap nor its time cut the search off."""
        last = {one["key"]["seed"]: one for cap in self.caps if (shown := self.at(name, cap)) for one in shown.records}
        return [one for one in last.values() if one["result"]["found"] and not capped(one) and not late(one)]

    def equal(self, cap: int) -> bool:
        """Whether each search measured at a cap had its calls, or came to its own end."""
        shown = (one for name in self.searchers if (one := self.at(name, cap)))
        return not any(late(record) for one in shown for record in one.records)

    def quarter(self) -> str | None:
        """With how many calls ours came to MIPROv2's last score, in the mean over seeds and for each alone.

        Where none of its searches came to an end, that score is the one at the largest cap.
        """
        theirs, ours = ([one for cap in self.caps if (one := self.at(name, cap))] for name in ("mipro", "ours"))
        if not theirs:
            return None
        last = Shown(self.ends("mipro") or [one for one in theirs[-1].records if one["result"]["found"]])
        ours = [one.of(last.seeds) for one in ours if one.seeds & last.seeds]
        if not ours:
            return None
        which = f"seed {', '.join(map(str, sorted(last.seeds)))}"
        own = reached(ours, last)
        if own is None:
            return f"{NAMES['ours']} does not come to MIPROv2's last score ({100 * last.average:.1f}; {which})"
        within = f"within {own:,.0f} calls; it took {last.spent('calls'):,.0f} ({which})"
        alone = [(reached([one.of({seed}) for one in ours], last.of({seed})), seed) for seed in sorted(last.seeds)]
        told = [
            f"{'not' if calls is None else f'{calls:,.0f}'} of {last.of({seed}).spent('calls'):,.0f}"
            for calls, seed in alone
        ]
        by_seed = f"; seed by seed: {', '.join(told)}" if len(told) > 1 else ""
        return f"{NAMES['ours']} has MIPROv2's last score {within}{by_seed}"

    def spread(self) -> Iterator[str]:
        """Each seed's score, at each cap at which some contestant has several seeds."""
        for cap in self.caps:
            shown = {name: one for name in self.searchers if (one := self.at(name, cap))}
            if any(len(one.seeds) > 1 for one in shown.values()):
                told = {title(name): ", ".join(f"{100 * m:.1f}" for m in one.means) for name, one in shown.items()}
                yield f"seed by seed at {cap:,} calls: {'; '.join(map(' '.join, told.items()))}"


def capped(one: Record) -> bool:
    """Whether a search had as many calls as its cap."""
    return bool(one["result"]["calls"] >= one["key"]["cap"] - IN_FLIGHT)


def late(one: Record) -> bool:
    """Whether the time limit ended the search that is shown before its cap did."""
    ended = f"try {one['result'].get('try', 1)}: ended by {TIME}"
    return ended in one["result"]["failed"] and one["result"]["calls"] < one["key"]["cap"]


def reached(ours: Sequence[Shown], theirs: Shown) -> float | None:
    """The calls of the first of our results that is as good as theirs."""
    return next((one.spent("calls") for one in ours if one.records and one.average >= theirs.average), None)


def title(name: str) -> str:
    return NAMES.get(name, name)


def tables(records: Sequence[Record], order: Sequence[str]) -> dict[str, Table]:
    """A table for each task (and size of its splits and model, where records differ in them)."""
    groups: dict[str, list[Record]] = {}
    for one in records:
        key = one["key"]
        groups.setdefault(f"{key['task']}, rows {key['rows']}, {key['model']}", []).append(one)
    return {name: Table(group, order) for name, group in groups.items()}


def section(records: Sequence[Record], order: Sequence[str]) -> str:
    lines = [
        "## Prompt search",
        "",
        "One endpoint; each contestant has the same train, dev and test rows, and the same cap on calls, which a proxy",
        "counts. A score is that of its best prompt so far on test, in points, with the 95 % interval; the difference",
        "is paired. Spending and unparsed replies are those at the largest cap; a contestant may be done before it,",
        "and is then not run again for a larger one. ×3 marks the mean of three seeds, row by row: the interval is",
        "over rows, and each seed's score is told below.",
        "",
        "TREC-6 (Li & Roth 2002: 3,000 rows of `text` and `label`) and SQuAD (Rajpurkar et al. 2016: three articles of",
        "its dev set) are read from `../shared/data/trec-train-3000.jsonl` and `squad-3-articles.jsonl`; a task whose",
        "file is not there is skipped.",
        "",
    ]
    made = {name: table for name, table in tables(records, order).items() if table.searchers}
    for name, table in made.items():
        lines += [f"### {name}", "", *table.lines(), ""]
        lines += [f"- {said}" for said in (table.quarter(), *table.spread()) if said]
        task = name.partition(",")[0]
        lines += [f"- {title(who)} is left out: {why}" for (who, where), why in IMPOSSIBLE.items() if where == task]
        lines += [f"- {said}" for said in remarks(table)] + [""]
    lines += verdict(made)
    return "\n".join(lines).rstrip() + "\n"


def remarks(table: Table) -> Iterator[str]:
    """What went wrong, and which runs shared the machine."""
    for name in table.searchers:
        shown = {cap: one for cap in table.caps if (one := table.at(name, cap))}
        empty = {cap: sum(not run["result"]["found"] for run in one.records) for cap, one in shown.items()}
        runs = {cap: len(one.records) for cap, one in shown.items()}
        within = [f"{cap:,} calls{f' ({n} of {runs[cap]})' if n < runs[cap] else ''}" for cap, n in empty.items() if n]
        if within:
            yield f"{title(name)} had scored nothing within {', '.join(within)}: shown is what it began with"
        failed = sorted({run["result"]["failed"] for one in shown.values() for run in one.records} - {""})
        if failed:
            yield f"{title(name)}: {' / '.join(failed)}"
    of = {one["result"].get("version", "") for group in table.found.values() for one in group} - {""}
    if of:
        yield f"peers: {', '.join(sorted({part for one in of for part in one.split(', ')}))}"
    many = {one["result"].get("side_by_side", 1) for group in table.found.values() for one in group}
    if max(many) > 1:
        yield f"up to {max(many)} contestants ran side by side: seconds are not those of one alone"


def verdict(made: dict[str, Table]) -> list[str]:
    """At how many tasks and caps nobody is ahead of ours beyond doubt, and at how many all had the same calls."""
    points = [(name, table, cap) for name, table in made.items() for cap in table.caps if table.contested(cap)]
    if not points:
        return []
    equal = sum(table.equal(cap) for _, table, cap in points)
    behind = [(name, cap, who) for name, table, cap in points if (who := table.ahead(cap))]
    lost = [f"{name} at {cap:,} calls: {', '.join(map(title, who))}" for name, cap, who in behind]
    won = f"at {len(points) - len(lost)} of {len(points)} points (tasks × caps)"
    said = [f"{NAMES['ours']} is best, or within noise of the best, {won}."]
    if equal < len(points):
        had = f"At {equal} of these points each peer measured there had its calls or came to its own end"
        said.append(f"{had}; at the others {TIME} ended some search before, as told above.")
    if not equal:
        said = [f"At every point {TIME} ended some peer's search before: who is better is not told by this."]
    return [*said, *([f"Ahead of it beyond doubt: {'; '.join(lost)}."] if lost else [])]
