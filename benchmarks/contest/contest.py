"""Prompt search side by side: our own, its peers, and what needs no search, on one endpoint and the same rows.

Searchers have the same cap on calls; one search gives its point at each cap. Labels are constrained for all.

    python -m benchmarks.contest [--fast] [--task trec] [--contestant ours] [--seed 0]

Runs what is not stored yet, and writes RESULTS.md and README.md's table. Options narrow what is run;
`benchmarks/contest/arena.py` names the environment variables.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks import cells
from benchmarks.cells import Key
from benchmarks.contest import ours, report
from benchmarks.contest.arena import PEERS, PEERS_PYTHON, Arena, Search, about, test_result
from benchmarks.contest.contestants import Program
from benchmarks.contest.proxy import Spending
from benchmarks.contest.rivals import score_rival
from benchmarks.contest.table import is_shown
from benchmarks.contest.tasks import TASKS, BenchTask
from benchmarks.contest.version import RIVALS
from benchmarks.endpoint import say
from benchmarks.readme import write_tables
from benchmarks.results import write_page

PART = "contest"
CAPS = (250, 500)
FAST_CAPS = (130,)
SEEDS = (0, 1, 2)
# What asks nothing before test: its program, or None for a rival, which asks nothing at all.
WITHOUT_SEARCH: dict[str, Program | None] = {
    **dict.fromkeys(RIVALS),
    "baseline": {"kind": "baseline"},
    "predict": {"kind": "predict"},
    "labeled-16": {"kind": "labeled", "k": 16},
    "knn-8": {"kind": "knn", "k": 8},
    "knn-16": {"kind": "knn", "k": 16},
}
DRAWN = ("labeled-16",)  # of these the demos that a seed draws
OUR_SEARCHES: dict[str, Search] = {
    "starters": partial(ours.search, options=ours.STARTERS_ONLY),
    "ours": ours.search,
}
SEARCHERS = (*PEERS, *OUR_SEARCHES)
ORDER = (*WITHOUT_SEARCH, *SEARCHERS)
UNCAPPED = 0  # the cap in the key of a contestant that does not search


@dataclass(frozen=True)
class Entry:
    """One contestant on one task with one seed."""

    task: BenchTask
    contestant: str
    seed: int


def entries(fast: bool, tasks: Sequence[str] = (), names: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Entry]:
    """What is to be run here, all of the first seed before the next one; says what is left out and why."""
    planned: list[Entry] = []
    for task in tasks_here(fast):
        for name in ORDER:
            planned += [Entry(task, name, seed) for seed in seeds_of(name, fast=fast)]
    if not PEERS_PYTHON.is_file():
        say("capo: skipped, .venv-bench is not here (make .venv-bench/.installed)")
        planned = [one for one in planned if one.contestant != "capo"]
    planned.sort(key=lambda one: one.seed)
    chosen = (one for one in planned if not tasks or one.task.name in tasks)
    chosen = (one for one in chosen if not names or one.contestant in names)
    return [one for one in chosen if not seeds or one.seed in seeds]


def seeds_of(name: str, *, fast: bool) -> tuple[int, ...]:
    """The seeds of a contestant: one where nothing in it is drawn."""
    return (0,) if fast or (name in WITHOUT_SEARCH and name not in DRAWN) else SEEDS


def tasks_here(fast: bool) -> list[BenchTask]:
    """The tasks whose rows are here; in the fast mode only the first."""
    for task in TASKS:
        if task.why_skipped:
            say(task.why_skipped)
    here = [task for task in TASKS if not task.why_skipped]
    return here[:1] if fast else here


def measure(arena: Arena, entry: Entry, caps: Sequence[int]) -> None:
    """Fill the cells of an entry: its search, and the test score at each cap."""
    task, name = entry.task, entry.contestant
    key = {**arena.key(task), "contestant": name, "seed": entry.seed}
    if name in WITHOUT_SEARCH:
        arena.measure_once(PART, {**key, "cap": UNCAPPED}, partial(measure_fixed, arena, entry))
        return
    copy_ended(arena, key, caps)
    if arena.complete(PART, key, caps):
        return
    found = arena.ours(task, entry.seed, caps, name, OUR_SEARCHES[name]) if name in OUR_SEARCHES else None
    found = found or arena.peer(task, name, entry.seed, caps)
    for point in found["points"]:
        arena.measure_once(PART, {**key, "cap": point["cap"]}, partial(to_result, arena, entry, found, point))


def measure_fixed(arena: Arena, entry: Entry) -> dict[str, Any]:
    """The result of a contestant that does not search; a rival has no program to keep."""
    task, program = entry.task, WITHOUT_SEARCH[entry.contestant]
    found = {"failed": "", "ended": "itself", **about(entry.contestant)}
    if program is None:
        scores = score_rival(arena.open_task(task), entry.contestant)
        return {"test": test_result(scores, arena.groups(task), Spending()), **found}
    if program["kind"] == "baseline":
        program = ours.baseline_program(arena.open_task(task))
    elif entry.contestant in DRAWN:
        program = {**program, "seed": entry.seed}
    who: dict[str, str | int] = {"contestant": entry.contestant, "seed": entry.seed, "cap": UNCAPPED}
    return {"test": arena.score_on_test(task, program), "winner": arena.keep_winner(task, program, **who), **found}


def copy_ended(arena: Arena, key: Key, caps: Sequence[int]) -> None:
    """Fill the cells above one at which the contestant had ended: where it does not know the cap, they are the same."""
    ended: dict[str, Any] | None = None
    for cap in caps:
        if ended:
            arena.measure_once(PART, {**key, "cap": cap}, partial(dict, ended, cap=cap))
        elif (found := arena.stored(PART, {**key, "cap": cap})) and found["ended"] == "itself" and knows_no_cap(key):
            ended = found


def knows_no_cap(key: Key) -> bool:
    """Whether a contestant's search is the same whatever the cap is; SIMBA's sizes and our first race go by it."""
    return key["contestant"] in PEERS and key["contestant"] != "simba"


def search_caps(arena: Arena) -> tuple[int, ...]:
    """The caps of every search here."""
    return arena.allowed(FAST_CAPS if arena.fast else CAPS)


def to_result(arena: Arena, entry: Entry, search: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """A point with its test scores; its `found` says whether anything was scored by then, `winner` names its program.

    What no table shows is not tested.
    """
    spent = {name: value for name, value in point.items() if name != "program"}
    details = {name: search[name] for name in ("failed", "side_by_side", "version", "commit")}
    found = {**spent, "found": point["dev"] is not None, **details}
    if not is_shown(entry.contestant, point["ended"]):
        return found
    who: dict[str, str | int] = {"contestant": entry.contestant, "seed": entry.seed, "cap": point["cap"]}
    winner = arena.keep_winner(entry.task, point["program"], **who)
    return {"test": arena.score_on_test(entry.task, point["program"]), **found, "winner": winner}


def run(fast: bool, chosen: Sequence[Entry] | None = None) -> None:
    """Fill all cells that are not yet stored."""
    folder = cells.FAST if fast else cells.RESULTS
    with Arena(folder, fast=fast) as arena, ThreadPoolExecutor(arena.jobs) as pool:
        todo = entries(fast) if chosen is None else chosen
        for done in [pool.submit(measure, arena, one, search_caps(arena)) for one in todo]:
            done.result()


def section(records: list[dict[str, Any]]) -> str:
    """The contest's part of RESULTS.md, from stored records alone."""
    text = report.section(records, ORDER)
    caps = {record["key"]["cap"] for record in records} - {UNCAPPED}
    if caps <= set(FAST_CAPS):
        return text
    searches = len(SEARCHERS) * len(SEEDS) * len(CAPS)
    planned = len(TASKS) * (searches + sum(len(seeds_of(name, fast=False)) for name in WITHOUT_SEARCH))
    measured = f"{len(records)} of {planned} cells are measured; `python -m benchmarks contest` goes on with the rest."
    return f"{text}\n{measured}\n"


def parse_options(module: str, doc: str, *, flag: str, choices: Sequence[str]) -> argparse.Namespace:
    """The command line of a part that can run some tasks, seeds and `names` alone; `flag` gives the names."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--task", action="append", default=[], choices=[task.name for task in TASKS])
    parser.add_argument(flag, dest="names", action="append", default=[], choices=choices)
    parser.add_argument("--seed", action="append", default=[], type=int)
    return parser.parse_args()


def main() -> None:
    options = parse_options("benchmarks.contest", str(__doc__), flag="--contestant", choices=ORDER)
    run(options.fast, entries(options.fast, options.task, options.names, options.seed))
    write_page()
    write_tables()
