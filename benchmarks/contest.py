"""Prompt search side by side: our own and its peers, on one endpoint, the same rows, the same cap on calls.

    python -m benchmarks.contest [--fast] [--task trec] [--contestant ours] [--seed 0]

Runs what is not stored yet, and writes RESULTS.md and README.md's table. Options narrow what is run; see
`benchmarks.arena` for more.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks import cells, contest_report
from benchmarks.arena import PEERS, PEERS_PYTHON, Arena, Key
from benchmarks.contestant_ours import seed_program
from benchmarks.endpoint import say
from benchmarks.readme import write_tables
from benchmarks.results import write_page
from benchmarks.tasks import TASKS, BenchTask

PART = "contest"
CAPS = (125, 250, 500, 1_000, 2_000, 4_000)
FAST_CAPS = (130,)
SEEDS = (0, 1, 2)
BASELINES = ("seed", "predict")
SEARCHERS = ("bootstrap", "mipro", "gepa", "capo", "ours")
UNCAPPED = 0  # the cap in the key of a contestant that does not search


@dataclass(frozen=True)
class Entry:
    """One contestant on one task with one seed."""

    task: BenchTask
    contestant: str
    seed: int


def entries(fast: bool, tasks: Sequence[str] = (), names: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Entry]:
    """What is to be run here, told what is left out and why."""
    made: list[Entry] = []
    for task in present(fast):
        for name in (*BASELINES, *SEARCHERS):
            for seed in (0,) if fast or name in BASELINES else SEEDS:
                made.append(Entry(task, name, seed))
    if not PEERS_PYTHON.is_file():
        say("capo: skipped, .venv-bench is not here (make .venv-bench/.installed)")
        made = [one for one in made if one.contestant != "capo"]
    chosen = (one for one in made if not tasks or one.task.name in tasks)
    chosen = (one for one in chosen if not names or one.contestant in names)
    return [one for one in chosen if not seeds or one.seed in seeds]


def present(fast: bool) -> list[BenchTask]:
    """The tasks whose rows are here; of them the first in the fast mode."""
    for task in TASKS:
        if task.absent:
            say(task.absent)
    here = [task for task in TASKS if not task.absent]
    return here[:1] if fast else here


def measure(arena: Arena, entry: Entry, caps: Sequence[int]) -> None:
    """Fill the cells of an entry: its search, and the reading of test at each cap."""
    task, name = entry.task, entry.contestant
    if name == "capo" and len(arena.prepared(task).task.outputs) > 1:
        say(f"{task.name}: capo, skipped: its answer is one text, and this task has several outputs")
        return
    key = {**arena.key(task), "contestant": name, "seed": entry.seed}
    if name in BASELINES:
        program = seed_program(arena.prepared(task)) if name == "seed" else None
        arena.kept(PART, {**key, "cap": UNCAPPED}, lambda: {"test": arena.reading(task, program), "failed": ""})
        return
    carry(arena, key, caps)
    if arena.complete(PART, key, caps):
        return
    found = arena.ours(task, entry.seed, caps) if name == "ours" else arena.peer(task, name, entry.seed, caps)
    for point in found["points"]:
        arena.kept(PART, {**key, "cap": point["cap"]}, partial(shown, arena, task, found, point))


def carry(arena: Arena, key: Key, caps: Sequence[int]) -> None:
    """Fill the cells above one at which the contestant was done: nothing tells it the cap, so they are the same."""
    done: dict[str, Any] | None = None
    for cap in caps:
        if done:
            arena.kept(PART, {**key, "cap": cap}, partial(dict, done, cap=cap))
        elif (found := arena.stored(PART, {**key, "cap": cap})) and found.get("done"):
            done = found


def searched(arena: Arena) -> tuple[int, ...]:
    """The caps of every search here."""
    return arena.within(FAST_CAPS if arena.fast else CAPS)


def shown(arena: Arena, task: BenchTask, found: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """A point without its program, with its reading of test; `found` says whether anything was scored by then."""
    reading = arena.reading(task, point["program"])
    spent = {name: value for name, value in point.items() if name != "program"}
    about = {"found": point["dev"] is not None, "side_by_side": found["side_by_side"], "try": found.get("try", 1)}
    about["version"] = found.get("version", "")
    return {"test": reading, "failed": found["failed"], **spent, **about}


def run(fast: bool, chosen: Sequence[Entry] | None = None) -> None:
    """Fill all cells that are not yet stored."""
    folder = cells.FAST if fast else cells.RESULTS
    with Arena(folder, fast=fast) as arena, ThreadPoolExecutor(arena.jobs) as pool:
        todo = entries(fast) if chosen is None else chosen
        for done in [pool.submit(measure, arena, one, searched(arena)) for one in todo]:
            done.result()


def section(records: list[dict[str, Any]]) -> str:
    """The contest's part of RESULTS.md, from stored records alone."""
    text = contest_report.section(records, (*BASELINES, *SEARCHERS))
    caps = {record["key"]["cap"] for record in records} - {UNCAPPED}
    if caps <= set(FAST_CAPS):
        return text
    planned = len(TASKS) * (len(BASELINES) + len(SEARCHERS) * len(SEEDS) * len(CAPS))
    here = f"{len(records)} of {planned} cells are measured; `python -m benchmarks contest` goes on with the rest."
    return f"{text}\n{here}\n"


def narrowed(what: str, flag: str, choices: Sequence[str]) -> argparse.Namespace:
    """The command line of a part whose entries can be narrowed to tasks, seeds and `names`, given by `flag`."""
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--task", action="append", default=[], choices=[task.name for task in TASKS])
    parser.add_argument(flag, dest="names", action="append", default=[], choices=choices)
    parser.add_argument("--seed", action="append", default=[], type=int)
    return parser.parse_args()


def main() -> None:
    options = narrowed(str(__doc__), "--contestant", [*BASELINES, *PEERS, "ours"])
    run(options.fast, entries(options.fast, options.task, options.names, options.seed))
    write_page()
    write_tables()


if __name__ == "__main__":
    main()
