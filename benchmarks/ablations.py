"""What each part of our search is worth: the same search without it, with the same cap on calls.

    python -m benchmarks.ablations [--fast] [--task trec] [--variant random] [--seed 0]

The whole search is the contest's own (its cells are used again); see `benchmarks.contest` for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from benchmarks import cells, contest, contestant_ours, search_variants
from benchmarks.arena import Arena, Search
from benchmarks.contest_report import Table, tables
from benchmarks.results import write_page
from benchmarks.tasks import BenchTask

PART = "ablations"
CAPS = (125, 250, 500, 1_000, 2_000)
WHOLE = "ours"
VARIANTS: dict[str, Search] = {
    "no-race": partial(contestant_ours.search, options=("--no-race",)),
    "dspy-chat": partial(contestant_ours.search, options=("--layout", "dspy-chat")),
    "no-proposals": partial(contestant_ours.search, options=("--proposer", "none")),
    search_variants.NO_DEMOS_VARIANT: search_variants.search,
    search_variants.RANDOM: search_variants.search,
}
MEANING = {
    WHOLE: "the whole search",
    "no-race": "every trial on all of dev",
    "dspy-chat": "only the layout of `dspy.ChatAdapter`",
    "no-proposals": "no instruction proposed",
    search_variants.NO_DEMOS_VARIANT: "instructions and layouts alone",
    search_variants.RANDOM: "candidates drawn at random, no TPE",
}
Entry = tuple[BenchTask, str, int]


def entries(fast: bool, tasks: Sequence[str] = (), names: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Entry]:
    """What is to be run: the whole search first, and each variant of it."""
    made = [
        (task, name, seed)
        for task in contest.present(fast)
        for name in (WHOLE, *VARIANTS)
        for seed in ((0,) if fast else contest.SEEDS)
    ]
    wanted = ((task, name, seed) for task, name, seed in made if not tasks or task.name in tasks)
    wanted = (one for one in wanted if not names or one[1] in (WHOLE, *names))
    return [one for one in wanted if not seeds or one[2] in seeds]


def measure(arena: Arena, entry: Entry) -> None:
    """Fill the cells of a variant; those of the whole search are the contest's."""
    task, name, seed = entry
    searched = contest.searched(arena)
    caps = [cap for cap in searched if arena.fast or cap in CAPS]
    key = {**arena.key(task), "contestant": name, "seed": seed}
    if arena.complete(PART, key, caps):
        return
    if name == WHOLE:
        contest.measure(arena, contest.Entry(task, name, seed), searched)
        for cap in caps:
            if whole := arena.stored(contest.PART, {**key, "cap": cap}):
                arena.kept(PART, {**key, "cap": cap}, partial(dict, whole))
        return
    found = arena.ours(task, seed, caps, name, VARIANTS[name])
    for point in found["points"]:
        arena.kept(PART, {**key, "cap": point["cap"]}, partial(contest.shown, arena, task, found, point))


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
        "Test score in points with its 95 % interval, at each cap on calls; the last column is paired. ×3 marks the",
        "mean of three seeds, row by row: the interval is over rows, and says nothing of other searches.",
        "The whole search is shown as it was when its variants were measured; the contest's may be newer.",
        "",
    ]
    for name, table in tables(records, (WHOLE, *VARIANTS)).items():
        lines += [f"### {name}", "", *rows(table), ""]
        if told := [f"- {said}" for said in table.spread()]:
            lines += [*told, ""]
    return "\n".join(lines).rstrip() + "\n"


def rows(table: Table) -> Iterator[str]:
    """A row for each variant."""
    heads = [f"{cap:,} calls" for cap in table.caps]
    yield f"| {' | '.join(['search', '', *heads, 'seconds', 'minus the whole'])} |"
    yield "|---" * (len(heads) + 4) + "|"
    for name in table.names:
        shown = [table.at(name, cap) for cap in table.caps]
        last = next(one for one in reversed(shown) if one)
        scores = [one.score if one else "" for one in shown]
        cells_ = [name, MEANING.get(name, ""), *scores, f"{last.spent('seconds'):,.0f}", table.behind(name)]
        yield f"| {' | '.join(cells_)} |"


def main() -> None:
    options = contest.narrowed(str(__doc__), "--variant", list(VARIANTS))
    run(options.fast, entries(options.fast, options.task, options.names, options.seed))
    write_page()


if __name__ == "__main__":
    main()
