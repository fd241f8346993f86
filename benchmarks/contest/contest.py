"""Prompt search side by side: our own and its peers, on one endpoint, the same rows, the same cap on calls.

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
from benchmarks.contest import report
from benchmarks.contest.arena import PEERS, PEERS_PYTHON, Arena
from benchmarks.contest.ours import baseline_program
from benchmarks.contest.tasks import TASKS, BenchTask
from benchmarks.endpoint import say
from benchmarks.readme import write_tables
from benchmarks.results import write_page

PART = "contest"
CAPS = (125, 250, 500, 1_000, 2_000, 4_000)
FAST_CAPS = (130,)
SEEDS = (0, 1, 2)
WITHOUT_SEARCH = ("baseline", "predict")
SEARCHERS = ("bootstrap", "mipro", "gepa", "capo", "ours")
UNCAPPED = 0  # the cap in the key of a contestant that does not search


@dataclass(frozen=True)
class Entry:
    """One contestant on one task with one seed."""

    task: BenchTask
    contestant: str
    seed: int


def entries(fast: bool, tasks: Sequence[str] = (), names: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Entry]:
    """What is to be run here; says what is left out and why."""
    planned: list[Entry] = []
    for task in tasks_here(fast):
        for name in (*WITHOUT_SEARCH, *SEARCHERS):
            for seed in (0,) if fast or name in WITHOUT_SEARCH else SEEDS:
                planned.append(Entry(task, name, seed))
    if not PEERS_PYTHON.is_file():
        say("capo: skipped, .venv-bench is not here (make .venv-bench/.installed)")
        planned = [one for one in planned if one.contestant != "capo"]
    chosen = (one for one in planned if not tasks or one.task.name in tasks)
    chosen = (one for one in chosen if not names or one.contestant in names)
    return [one for one in chosen if not seeds or one.seed in seeds]


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
    if name == "capo" and len(arena.open_task(task).task.outputs) > 1:
        say(f"{task.name}: capo, skipped: its answer is one text, and this task has several outputs")
        return
    key = {**arena.key(task), "contestant": name, "seed": entry.seed}
    if name in WITHOUT_SEARCH:
        program = baseline_program(arena.open_task(task)) if name == "baseline" else None
        cell = {**key, "cap": UNCAPPED}
        arena.measure_once(PART, cell, lambda: {"test": arena.score_on_test(task, program), "failed": ""})
        return
    copy_ended(arena, key, caps)
    if arena.complete(PART, key, caps):
        return
    found = arena.ours(task, entry.seed, caps) if name == "ours" else arena.peer(task, name, entry.seed, caps)
    for point in found["points"]:
        arena.measure_once(PART, {**key, "cap": point["cap"]}, partial(to_result, arena, task, found, point))


def copy_ended(arena: Arena, key: Key, caps: Sequence[int]) -> None:
    """Fill the cells above one at which the contestant had ended: it does not know the cap, so they are the same."""
    ended: dict[str, Any] | None = None
    for cap in caps:
        if ended:
            arena.measure_once(PART, {**key, "cap": cap}, partial(dict, ended, cap=cap))
        elif (found := arena.stored(PART, {**key, "cap": cap})) and found.get("done"):
            ended = found


def search_caps(arena: Arena) -> tuple[int, ...]:
    """The caps of every search here."""
    return arena.allowed(FAST_CAPS if arena.fast else CAPS)


def to_result(arena: Arena, task: BenchTask, search: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """A point without its program, with its test scores; its `found` says whether anything was scored by then."""
    test = arena.score_on_test(task, point["program"])
    spent = {name: value for name, value in point.items() if name != "program"}
    about = {"found": point["dev"] is not None, "side_by_side": search["side_by_side"], "try": search.get("try", 1)}
    about["version"] = search.get("version", "")
    return {"test": test, "failed": search["failed"], **spent, **about}


def run(fast: bool, chosen: Sequence[Entry] | None = None) -> None:
    """Fill all cells that are not yet stored."""
    folder = cells.FAST if fast else cells.RESULTS
    with Arena(folder, fast=fast) as arena, ThreadPoolExecutor(arena.jobs) as pool:
        todo = entries(fast) if chosen is None else chosen
        for done in [pool.submit(measure, arena, one, search_caps(arena)) for one in todo]:
            done.result()


def section(records: list[dict[str, Any]]) -> str:
    """The contest's part of RESULTS.md, from stored records alone."""
    text = report.section(records, (*WITHOUT_SEARCH, *SEARCHERS))
    caps = {record["key"]["cap"] for record in records} - {UNCAPPED}
    if caps <= set(FAST_CAPS):
        return text
    planned = len(TASKS) * (len(WITHOUT_SEARCH) + len(SEARCHERS) * len(SEEDS) * len(CAPS))
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
    options = parse_options(
        "benchmarks.contest", str(__doc__), flag="--contestant", choices=[*WITHOUT_SEARCH, *PEERS, "ours"]
    )
    run(options.fast, entries(options.fast, options.task, options.names, options.seed))
    write_page()
    write_tables()
