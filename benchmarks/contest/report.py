"""The contest in Markdown, from its stored records alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.contest.table import OURS, CapResults, Record, Table, by_seed, tables

NAMES = {
    "majority": "majority (no model)",
    "nearest": "nearest rows (no model)",
    "bag_of_words": "bag of words (no model)",
    "baseline": "baseline prompt",
    "predict": "`dspy.Predict`",
    "labeled-16": "LabeledFewShot(k=16)",
    "knn-8": "KNNFewShot(k=8)",
    "knn-16": "KNNFewShot(k=16)",
    "bootstrap": "BootstrapFewShotWithRandomSearch",
    "simba": "SIMBA",
    "mipro": 'MIPROv2(auto="light")',
    "gepa": "GEPA",
    "capo": "CAPO",
    "starters": "promptstill, first generation alone",
    OURS: "promptstill",
}
OURS_TOO = ("starters", OURS)


def title(name: str) -> str:
    return NAMES.get(name, name)


def section(records: Sequence[Record], order: Sequence[str]) -> str:
    lines = [
        "## Prompt search",
        "",
        "One endpoint; each contestant has the same train, dev and test rows, and each searcher the same cap on calls,",
        "which a proxy counts. Labels are constrained for all: by `structured_outputs` in promptstill and CAPO, by a",
        "JSON schema in DSPy's optimizers. A score is that of the best prompt so far on test, in points. ×3 marks the",
        "mean of three seeds. Intervals are of 95 %: `rows` is over new rows for these searches, paired where it is of",
        "a difference, `searches` over new searches on these rows (Student's t, of a difference by Welch). Spending",
        "and unparsed replies are those at the largest cap; the difference is to promptstill there.",
        "",
        "TREC-6 (Li & Roth 2002: 3,000 rows of `text` and `label`) is read from",
        "`../shared/data/trec-train-3000.jsonl`; a task whose file is not there is skipped. The winners' texts and",
        "parameters are in `results/contest_winners.jsonl`.",
        "",
    ]
    made = {name: table for name, table in tables(records, order).items() if table.names}
    for name, table in made.items():
        lines += [f"### {name}", "", *table_lines(table), ""]
        lines += [f"- {text}" for text in (*winner_lines(table), *remarks(table))] + [""]
    lines += summary(made)
    return "\n".join(lines).rstrip() + "\n"


def table_lines(table: Table) -> Iterator[str]:
    """A row for each contestant."""
    heads = ["no search", *(f"{cap:,} calls" for cap in table.caps)]
    spending = ["calls", "prompt tokens", "reply tokens", "seconds", "unparsed"]
    columns = ["contestant", *heads, *spending, f"minus {title(OURS)}"]
    yield "| " + " | ".join(columns) + " |"
    yield "|---" * len(columns) + "|"
    for name in table.names:
        results = [table.at(name, cap) for cap in (0, *table.caps)]
        last = next(one for one in reversed(results) if one)
        scores = [one.score if one else "" for one in results]
        cells = [title(name), *scores, *spending_of(last), f"{last.unparsed:.0%}", table.last_difference(name)]
        yield f"| {' | '.join(cells)} |"


def spending_of(results: CapResults) -> list[str]:
    """Calls, tokens and seconds of a search; nothing of what does not search."""
    names = ("calls", "prompt_tokens", "completion_tokens", "seconds")
    if "calls" not in results.records[0]["result"]:
        return [""] * len(names)
    return [f"{results.mean_of(name):,.0f}" for name in names]


def winner_lines(table: Table) -> Iterator[str]:
    """At each cap who is above ours, whoever it is, and whether that is clear."""
    for cap in table.caps:
        own = table.at(OURS, cap)
        if not own or not table.is_compared(cap):
            continue
        above = table.above_ours(cap)
        score = f"{title(OURS)} ({100 * own.average:.1f})"
        if not above:
            yield f"at {cap:,} calls nobody is above {score}"
            continue
        texts = [f"{title(name)} by {one}, {'clearly' if one.clear else 'within noise'}" for name, one in above.items()]
        yield f"**at {cap:,} calls above {score}:** {'; '.join(texts)}"


def remarks(table: Table) -> Iterator[str]:
    """What is left out and why, what went wrong, each seed's score, the versions, and how many ran side by side."""
    yield from by_seed(table, {name: title(name) for name in table.names})
    yield from left_out_lines(table)
    for name in table.searchers:
        results = {cap: one for cap in table.caps if (one := table.at(name, cap))}
        empty = {cap: sum(not run["result"]["found"] for run in one.records) for cap, one in results.items()}
        runs = {cap: len(one.records) for cap, one in results.items()}
        within = [f"{cap:,} calls{f' ({n} of {runs[cap]})' if n < runs[cap] else ''}" for cap, n in empty.items() if n]
        if within:
            yield f"{title(name)} had scored nothing within {', '.join(within)}; the score is of what it began with"
        failed = {run["result"]["failed"] for one in results.values() for run in one.records}
        if failed - {""}:
            yield f"{title(name)}: {' / '.join(sorted(failed - {''}))}"
    yield from version_lines(table)
    many = {one["result"].get("side_by_side", 1) for group in table.found.values() for one in group}
    if max(many) > 1:
        yield f"up to {max(many)} contestants ran side by side: seconds are not those of one alone"


def left_out_lines(table: Table) -> Iterator[str]:
    """A search that the clock ended, and one that has no result before its own end."""
    found: dict[tuple[str, int, str], list[int]] = {}
    for one in table.left_out:
        key, result = one["key"], one["result"]
        why = "had not ended by itself" if result["ended"] != "clock" else result["failed"] or "the clock ended it"
        found.setdefault((key["contestant"], key["cap"], why), []).append(key["seed"])
    for (name, cap, why), seeds in found.items():
        yield f"{title(name)}, seed {', '.join(map(str, seeds))}, is left out at {cap:,} calls: {why}"


def version_lines(table: Table) -> Iterator[str]:
    """The versions that the table shows with their commits, and the scores of older ones with their dates."""
    found: dict[str, set[str]] = {}
    for one in (one for group in table.found.values() for one in group):
        found.setdefault(one["result"].get("version", ""), set()).add(one["result"].get("commit", ""))
    texts = [f"{name} ({', '.join(sorted(at - {''}))})" if at - {""} else name for name, at in found.items() if name]
    if texts:
        yield f"versions, and the commits that they were measured at: {'; '.join(sorted(texts))}"
    for one in table.older:
        key, result = one["key"], one["result"]
        score = f"{100 * result['test']['mean']:.1f}" if "test" in result else "not tested"
        who = f"{title(key['contestant'])}, seed {key['seed']}, cap {key['cap']:,}"
        yield f"older, of {str(one['at'])[:10]}: {who}: {score}"


def summary(made: dict[str, Table]) -> list[str]:
    """At how many tasks and caps nobody is clearly better than ours, and where somebody is."""
    points = [(name, table, cap) for name, table in made.items() for cap in table.caps if table.is_compared(cap)]
    if not points:
        return []
    better = {
        f"{name} at {cap:,} calls": [title(who) for who, one in table.above_ours(cap).items() if one.clear]
        for name, table, cap in points
    }
    lost = [f"{where}: {', '.join(who)}" for where, who in better.items() if who]
    lines = [f"At {len(points) - len(lost)} of {len(points)} points (tasks × caps) nobody is clearly better than ours."]
    return [*lines, *([f"Clearly better than it: {'; '.join(lost)}."] if lost else [])]
