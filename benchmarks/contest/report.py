"""The contest in Markdown, from its stored records alone. Scores of several seeds are first averaged row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from benchmarks.contest.contestants import TIME
from promptstill.stats import Gain, gain, mean_interval

NAMES = {
    "baseline": "baseline prompt",
    "predict": "`dspy.Predict`",
    "bootstrap": "BootstrapFewShotWithRandomSearch",
    "mipro": 'MIPROv2(auto="light")',
    "gepa": "GEPA",
    "capo": "CAPO",
    "ours": "promptstill",
}
IMPOSSIBLE = {("capo", "extract"): "its answer is one text, and this task has several outputs"}
IN_FLIGHT = 64  # calls that may be unanswered when the cap is reached
Record = dict[str, Any]


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
    def score(self) -> str:
        one = mean_interval(self.scores, 0, self.groups)
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

    def at(self, name: str, cap: int) -> CapResults | None:
        return CapResults(self.found[name, cap]) if (name, cap) in self.found else None

    @property
    def searchers(self) -> list[str]:
        return [name for name in self.names if (name, 0) not in self.found]

    def lines(self) -> Iterator[str]:
        """A line for each contestant without a search, then a table of the searchers."""
        for name in self.names:
            fixed = self.at(name, 0)
            if fixed:
                yield f"- {title(name)}, no search: **{fixed.score}**, {fixed.unparsed:.0%} unparsed"
        yield ""
        heads = [f"{cap:,} calls" for cap in self.caps]
        spending = ["calls", "prompt tokens", "reply tokens", "seconds", "unparsed"]
        columns = ["contestant", *heads, *spending, f"minus {NAMES['ours']}"]
        yield "| " + " | ".join(columns) + " |"
        yield "|---" * len(columns) + "|"
        for name in self.searchers:
            results = [self.at(name, cap) for cap in self.caps]
            last = next(one for one in reversed(results) if one)
            spent = [
                f"{last.mean_of(what):,.0f}" for what in ("calls", "prompt_tokens", "completion_tokens", "seconds")
            ]
            cells = [one.score if one else "" for one in results]
            yield f"| {' | '.join([title(name), *cells, *spent, f'{last.unparsed:.0%}', self.minus_ours(name)])} |"

    def minus_ours(self, name: str) -> str:
        """The paired difference at the largest cap that both have; that cap is named where it is not the last."""
        pairs = {cap: pair for cap in self.caps if name != "ours" and (pair := self.paired_gain(name, cap))}
        if not pairs:
            return ""
        cap, pair = max(pairs.items())
        at = "" if cap == self.caps[-1] else f" at {cap:,}"
        return f"{100 * pair.mean:+.1f} ({100 * pair.low:+.1f} to {100 * pair.high:+.1f}){at}"

    def paired_gain(self, name: str, cap: int) -> Gain | None:
        """`name` minus ours on the same rows, over the seeds that both have."""
        other, own = self.at(name, cap), self.at("ours", cap)
        shared = other.seeds & own.seeds if other and own else None
        if not (other and own and shared):
            return None
        return gain(other.of_seeds(shared).scores, own.of_seeds(shared).scores, 0, own.groups)

    def is_compared(self, cap: int) -> bool:
        """Whether ours and some peer are measured at a cap, with a seed that both have."""
        return any(self.paired_gain(name, cap) for name in self.searchers if name != "ours")

    def better_than_ours(self, cap: int) -> list[str]:
        """Whose score at a cap is above ours, with the whole interval of the difference."""
        pairs = {name: self.paired_gain(name, cap) for name in self.searchers if name != "ours"}
        return [name for name, pair in pairs.items() if pair and pair.low > 0]

    def own_ends(self, name: str) -> list[Record]:
        """Each seed's last result, where something was scored, and neither cap nor time limit ended the search."""
        last = {
            one["key"]["seed"]: one for cap in self.caps if (results := self.at(name, cap)) for one in results.records
        }
        return [one for one in last.values() if one["result"]["found"] and not hit_cap(one) and not hit_time_limit(one)]

    def is_fair(self, cap: int) -> bool:
        """Whether each search measured at a cap had all its calls, or ended by itself."""
        results = (one for name in self.searchers if (one := self.at(name, cap)))
        return not any(hit_time_limit(record) for one in results for record in one.records)

    def calls_to_match_mipro(self) -> str | None:
        """With how many calls ours had MIPROv2's last score, in the mean over seeds and for each alone.

        Where none of its searches ended by itself, that score is the one at the largest cap.
        """
        theirs, ours = ([one for cap in self.caps if (one := self.at(name, cap))] for name in ("mipro", "ours"))
        if not theirs:
            return None
        last = CapResults(self.own_ends("mipro") or [one for one in theirs[-1].records if one["result"]["found"]])
        ours = [one.of_seeds(last.seeds) for one in ours if one.seeds & last.seeds]
        if not ours:
            return None
        which = f"seed {', '.join(map(str, sorted(last.seeds)))}"
        own = calls_to_reach(ours, last)
        if own is None:
            return f"{NAMES['ours']} does not reach MIPROv2's last score ({100 * last.average:.1f}; {which})"
        within = f"within {own:,.0f} calls; it took {last.mean_of('calls'):,.0f} ({which})"
        alone = [
            (calls_to_reach([one.of_seeds({seed}) for one in ours], last.of_seeds({seed})), seed)
            for seed in sorted(last.seeds)
        ]
        texts = [
            f"{'not' if calls is None else f'{calls:,.0f}'} of {last.of_seeds({seed}).mean_of('calls'):,.0f}"
            for calls, seed in alone
        ]
        by_seed = f"; seed by seed: {', '.join(texts)}" if len(texts) > 1 else ""
        return f"{NAMES['ours']} has MIPROv2's last score {within}{by_seed}"

    def seed_lines(self) -> Iterator[str]:
        """Each seed's score, at each cap at which some contestant has several seeds."""
        for cap in self.caps:
            results = {name: one for name in self.searchers if (one := self.at(name, cap))}
            if any(len(one.seeds) > 1 for one in results.values()):
                texts = {title(name): ", ".join(f"{100 * m:.1f}" for m in one.means) for name, one in results.items()}
                yield f"seed by seed at {cap:,} calls: {'; '.join(map(' '.join, texts.items()))}"


def hit_cap(one: Record) -> bool:
    """Whether a search had as many calls as its cap."""
    return bool(one["result"]["calls"] >= one["key"]["cap"] - IN_FLIGHT)


def hit_time_limit(one: Record) -> bool:
    """Whether the time limit ended the search that the record is of, before its cap did."""
    ended = f"try {one['result'].get('try', 1)}: ended by {TIME}"
    return ended in one["result"]["failed"] and one["result"]["calls"] < one["key"]["cap"]


def calls_to_reach(ours: Sequence[CapResults], theirs: CapResults) -> float | None:
    """The calls of our first result that is as good as theirs."""
    return next((one.mean_of("calls") for one in ours if one.records and one.average >= theirs.average), None)


def title(name: str) -> str:
    return NAMES.get(name, name)


def tables(records: Sequence[Record], order: Sequence[str]) -> dict[str, Table]:
    """A table for each task, size of its splits, and model."""
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
        "is paired. Spending and unparsed replies are those at the largest cap; a contestant may end before it, and is",
        "then not run again for a larger one. ×3 marks the mean of three seeds, row by row: the interval is over rows,",
        "and each seed's score is in the list below the table.",
        "",
        "TREC-6 (Li & Roth 2002: 3,000 rows of `text` and `label`) and SQuAD (Rajpurkar et al. 2016: three articles of",
        "its dev set) are read from `../shared/data/trec-train-3000.jsonl` and `squad-3-articles.jsonl`; a task whose",
        "file is not there is skipped.",
        "",
    ]
    made = {name: table for name, table in tables(records, order).items() if table.searchers}
    for name, table in made.items():
        lines += [f"### {name}", "", *table.lines(), ""]
        lines += [f"- {text}" for text in (table.calls_to_match_mipro(), *table.seed_lines()) if text]
        task = name.partition(",")[0]
        lines += [f"- {title(who)} is left out: {why}" for (who, where), why in IMPOSSIBLE.items() if where == task]
        lines += [f"- {text}" for text in remarks(table)] + [""]
    lines += summary(made)
    return "\n".join(lines).rstrip() + "\n"


def remarks(table: Table) -> Iterator[str]:
    """What went wrong, the peers' versions, and how many ran side by side."""
    for name in table.searchers:
        results = {cap: one for cap in table.caps if (one := table.at(name, cap))}
        empty = {cap: sum(not run["result"]["found"] for run in one.records) for cap, one in results.items()}
        runs = {cap: len(one.records) for cap, one in results.items()}
        within = [f"{cap:,} calls{f' ({n} of {runs[cap]})' if n < runs[cap] else ''}" for cap, n in empty.items() if n]
        if within:
            yield f"{title(name)} had scored nothing within {', '.join(within)}; the score is of what it began with"
        failed = sorted({run["result"]["failed"] for one in results.values() for run in one.records} - {""})
        if failed:
            yield f"{title(name)}: {' / '.join(failed)}"
    versions = {one["result"].get("version", "") for group in table.found.values() for one in group} - {""}
    if versions:
        yield f"peers: {', '.join(sorted({part for one in versions for part in one.split(', ')}))}"
    many = {one["result"].get("side_by_side", 1) for group in table.found.values() for one in group}
    if max(many) > 1:
        yield f"up to {max(many)} contestants ran side by side: seconds are not those of one alone"


def summary(made: dict[str, Table]) -> list[str]:
    """At how many tasks and caps no peer is clearly better than ours, and at how many all had the same calls."""
    points = [(name, table, cap) for name, table in made.items() for cap in table.caps if table.is_compared(cap)]
    if not points:
        return []
    fair = sum(table.is_fair(cap) for _, table, cap in points)
    worse = [(name, cap, who) for name, table, cap in points if (who := table.better_than_ours(cap))]
    lost = [f"{name} at {cap:,} calls: {', '.join(map(title, who))}" for name, cap, who in worse]
    count = f"at {len(points) - len(lost)} of {len(points)} points (tasks × caps)"
    lines = [f"{NAMES['ours']} is best, or within noise of the best, {count}."]
    if fair < len(points):
        had = f"At {fair} of these points each peer measured there had all its calls or ended by itself"
        lines.append(f"{had}; at the others {TIME} ended some search earlier, as listed above.")
    if not fair:
        lines = [f"At every point {TIME} ended some peer's search earlier: this does not show who is better."]
    return [*lines, *([f"Clearly better than it: {'; '.join(lost)}."] if lost else [])]
