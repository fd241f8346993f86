"""What each part of our search is worth: the same search without it, with the same cap on calls.

    python -m benchmarks.contest.ablations [--fast] [--task trec] [--variant no-race] [--seed 0]

A variant is an option of `optimize`. The whole search is the contest's own, whose cells are used again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from benchmarks import cells
from benchmarks.contest import contest, ours
from benchmarks.contest.arena import Arena, Search
from benchmarks.contest.table import Table, by_seed, tables
from benchmarks.contest.tasks import BenchTask
from benchmarks.results import write_page

PART = "ablations"
WHOLE = "ours"
VARIANTS: dict[str, Search] = {
    "no-race": partial(ours.search, options=("--no-race",)),
    "dspy-chat": partial(ours.search, options=("--layout", "dspy-chat")),
    "no-proposals": partial(ours.search, options=("--proposer", "none")),
    "no-calibration": partial(ours.search, options=("--no-calibration",)),
}
MEANING = {  # the last two have stored cells alone: no option of `optimize` makes such a search
    WHOLE: "the whole search",
    "no-race": "every trial on all of dev",
    "dspy-chat": "only the layout of `dspy.ChatAdapter`",
    "no-proposals": "no instruction proposed",
    "no-calibration": "the model's bias for some labels left as it is",
    "no-demos": "instructions and layouts alone",
    "random": "candidates drawn at random, no TPE",
}
Entry = tuple[BenchTask, str, int]


def entries(fast: bool, tasks: Sequence[str] = (), names: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Entry]:
    """What is to be run: the whole search first, and each variant of it."""
    planned = [
        (task, name, seed)
        for task in contest.tasks_here(fast)
        for name in (WHOLE, *VARIANTS)
        for seed in ((0,) if fast else contest.SEEDS)
    ]
    wanted = ((task, name, seed) for task, name, seed in planned if not tasks or task.name in tasks)
    wanted = (one for one in wanted if not names or one[1] in (WHOLE, *names))
    return [one for one in wanted if not seeds or one[2] in seeds]


def measure(arena: Arena, entry: Entry) -> None:
    """Fill the cells of a variant; those of the whole search are the contest's."""
    task, name, seed = entry
    caps = contest.search_caps(arena)
    key = {**arena.key(task), "contestant": name, "seed": seed}
    if arena.complete(PART, key, caps):
        return
    if name == WHOLE:
        contest.measure(arena, contest.Entry(task, name, seed), caps)
        for cap in caps:
            if whole := arena.stored(contest.PART, {**key, "cap": cap}):
                arena.measure_once(PART, {**key, "cap": cap}, partial(dict, whole))
        return
    one, search = contest.Entry(task, name, seed), arena.ours(task, seed, caps, name, VARIANTS[name])
    for point in search["points"]:
        arena.measure_once(PART, {**key, "cap": point["cap"]}, partial(contest.to_result, arena, one, search, point))


def run(fast: bool, chosen: Sequence[Entry] | None = None) -> None:
    """Fill all cells that are not yet stored."""
    folder = cells.FAST if fast else cells.RESULTS
    with Arena(folder, fast=fast) as arena, ThreadPoolExecutor(arena.jobs) as pool:
        todo = entries(fast) if chosen is None else chosen
        for done in [pool.submit(measure, arena, one) for one in todo]:
            done.result()


def section(records: list[dict[str, Any]]) -> str:
    """The ablations' part of RESULTS.md, from stored records alone."""
    lines = ["## What each part of the search is worth", ""]
    lines += [
        "Test score in points at each cap on calls; ×3 marks the mean of three seeds. Intervals are of 95 %: `rows` is",
        "over new rows for these searches, paired in the last column, `searches` over new searches on these rows.",
        "The whole search is the one that was measured together with its variants; the contest's may be newer.",
        "",
    ]
    for name, table in tables(records, tuple(MEANING)).items():
        lines += [f"### {name}", "", *rows(table), ""]
        if seeds := [f"- {line}" for line in by_seed(table, {name: name for name in table.names})]:
            lines += [*seeds, ""]
    return "\n".join(lines).rstrip() + "\n"


def rows(table: Table) -> Iterator[str]:
    """A row for each variant."""
    heads = [f"{cap:,} calls" for cap in table.caps]
    yield f"| {' | '.join(['search', '', *heads, 'seconds', 'minus the whole'])} |"
    yield "|---" * (len(heads) + 4) + "|"
    for name in table.names:
        results = [table.at(name, cap) for cap in table.caps]
        last = next(one for one in reversed(results) if one)
        scores = [one.score if one else "" for one in results]
        cells_ = [name, MEANING[name], *scores, f"{last.mean_of('seconds'):,.0f}", table.last_difference(name)]
        yield f"| {' | '.join(cells_)} |"


def main() -> None:
    options = contest.parse_options(
        "benchmarks.contest.ablations", str(__doc__), flag="--variant", choices=list(VARIANTS)
    )
    run(options.fast, entries(options.fast, options.task, options.names, options.seed))
    write_page()


if __name__ == "__main__":
    main()
