"""Our search beside DSPy's optimizers in worlds of rules, where a proposer's skill and every prompt's truth are known.

    python -m benchmarks [--fast] rules

Twenty worlds (`worlds.py`), a strong, a weak and a junk proposer. The cells of a contestant in a world are measured
together; BENCH_JOBS of them run side by side (as many as there are cores), which changes seconds alone.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks import cells
from benchmarks.cells import Key
from benchmarks.contest.version import commit, version_of
from benchmarks.endpoint import say
from benchmarks.results import table
from benchmarks.simulation.rules.contestants import ALONE, LACKS, OURS, PEERS, Case, measure
from benchmarks.simulation.rules.worlds import DEV, HELD_OUT, SKILLS, TRAIN, WORLDS

PART = "rules"
CAPS, FAST_CAPS = (500, 1_000, 2_000), (500,)
FAST_WORLDS, FAST_SKILLS = (3, 9, 16), ("strong",)
JUNK = "junk"
ABLATIONS = [("strong", name) for name in LACKS]
TITLES = {
    OURS: "promptstill",
    ALONE: "promptstill without a proposer",
    "no-reflection": "promptstill without reflection",
    "no-evolution": "promptstill without demos that evolve",
    "gepa": "GEPA",
    "mipro": "MIPROv2",
    "simba": "SIMBA",
}
Gains = dict[tuple[str, str, int], dict[int, float]]  # truth by world, of a skill, a contestant and a cap


def cases(*, fast: bool) -> list[Case]:
    """What is measured, world by world. Without a proposer its skill does not matter: that is measured once, and what a
    source is worth with the proposer for which there is most to learn."""
    worlds = FAST_WORLDS if fast else tuple(range(len(WORLDS)))
    skills = FAST_SKILLS if fast else tuple(SKILLS)
    names = (OURS, *PEERS)
    found = [Case(world, skill, name) for world in worlds for skill in skills for name in names]
    if fast:
        return found
    return [*found, *(Case(world, skill, name) for world in worlds for skill, name in ((JUNK, ALONE), *ABLATIONS))]


def key(case: Case, cap: int) -> Key:
    """A cell's key; the seed is the world's own, and that of every search in it."""
    seed = WORLDS[case.world].seed
    return {"world": case.world, "skill": case.skill, "contestant": case.contestant, "cap": cap, "seed": seed}


def run(fast: bool) -> None:
    folder, caps = (cells.FAST, FAST_CAPS) if fast else (cells.RESULTS, CAPS)
    known = [record["key"] for record in cells.read(PART, folder)]
    todo = [case for case in cases(fast=fast) if any(key(case, cap) not in known for cap in caps)]
    if todo:
        with ProcessPoolExecutor(jobs(), mp_context=get_context("spawn")) as pool:
            measure_all(pool, todo, caps, folder)


def jobs() -> int:
    return int(os.environ.get("BENCH_JOBS", os.cpu_count() or 1))


def measure_all(pool: Executor, todo: Sequence[Case], caps: Sequence[int], folder: Path) -> None:
    """Store the cells of each case as it ends. Where one fails, those that have not begun are left."""
    running = {pool.submit(time_case, case, caps): case for case in todo}
    try:
        for number, done in enumerate(as_completed(running), 1):
            keep(running[done], *done.result(), folder)
            say(f"rules: {number} of {len(todo)}: {running[done]}")
    finally:
        for one in running:
            one.cancel()


def keep(case: Case, results: Sequence[dict[str, Any]], seconds: float, folder: Path) -> None:
    """Store what is not stored yet of a case, whose searches took so many seconds together."""
    about = {"version": version_of(case.contestant if case.contestant in PEERS else OURS), "commit": commit()}
    known = [record["key"] for record in cells.read(PART, folder)]
    for result in results:
        if key(case, result["cap"]) not in known:
            cells.store(PART, key(case, result["cap"]), {**result, **about}, seconds, folder=folder)


def time_case(case: Case, caps: Sequence[int]) -> tuple[list[dict[str, Any]], float]:
    """A case's results, and the seconds that all of them took together."""
    started = time.perf_counter()
    return measure(case, caps), time.perf_counter() - started


def section(records: list[dict[str, Any]]) -> str:
    """The part's Markdown, from stored cells alone."""
    found, caps = truths(records), sorted({one["key"]["cap"] for one in records})
    worlds = sorted({one["key"]["world"] for one in records})
    lines = ["## Worlds of rules: our search beside DSPy's optimizers", "", *head(records, len(worlds))]
    for skill in (one for one in SKILLS if any(one == known for known, _, _ in found)):
        rows = [row(found, skill, name, caps) for name in TITLES if any((skill, name, cap) in found for cap in caps)]
        differences = [f"minus promptstill's, {cap:,}" for cap in caps]
        names = ["search", *(f"{cap:,} calls" for cap in caps), *differences]
        lines += [f"The proposer is {skill}:", "", *table(names, rows), "", *a_third(found, skill, caps)]
    return "\n".join(lines).rstrip()


def head(records: Sequence[dict[str, Any]], worlds: int) -> list[str]:
    """What the tables hold."""
    by_world = {one["key"]["world"]: one["result"] for one in records}
    start, best = (100 * mean(one[name] for one in by_world.values()) for name in ("start", "best"))
    return [
        f"The true accuracy of what each search ends with, in %, ± 1.96 standard errors over {worlds} worlds: the",
        f"share of {HELD_OUT:,} held-out rows that the prompt answers right, computed without calls. There are {TRAIN}",
        f"train and {DEV} dev rows. The baseline prompt has {start:.1f}, the best prompt there is {best:.1f}.",
        "Differences are paired by world. A row needs up to three of 5 to 40 hidden rules, which the instruction must",
        "state or a demo teach; some rules spoil other rows together. At times feedback names a missing rule. MIPROv2",
        "and SIMBA search anew for each number of calls: MIPROv2 by its light run at 500, its medium at 1,000, its",
        "heavy above, SIMBA with sizes that end inside it. Of GEPA it is the best on dev when the calls are used up. A",
        "world has no language: it tells what a search makes of a proposer, not what a model makes of a prompt.",
        "",
    ]


def truths(records: Sequence[dict[str, Any]]) -> Gains:
    """The newest version's results of each contestant."""
    newest = {one["key"]["contestant"]: one["result"]["version"] for one in sorted(records, key=lambda one: one["at"])}
    found: Gains = {}
    for one in records:
        about, result = one["key"], one["result"]
        if result["version"] == newest[about["contestant"]]:
            place = (about["skill"], about["contestant"], about["cap"])
            found.setdefault(place, {})[about["world"]] = result["truth"]
    return found


def row(found: Gains, skill: str, name: str, caps: Sequence[int]) -> list[str]:
    """A contestant's row: its accuracy at each cap, and how much that is above ours."""
    own = [found.get((skill, name, cap), {}) for cap in caps]
    ours = [found.get((skill, OURS, cap), {}) for cap in caps]
    pairs = zip(own, ours, strict=True)
    less = ["" if name == OURS else mean_text(difference(mine, other), "+.1f") for mine, other in pairs]
    return [TITLES[name], *(mean_text(list(one.values()), ".1f") for one in own), *less]


def difference(one: dict[int, float], other: dict[int, float]) -> list[float]:
    """One minus the other in each world that both have."""
    return [one[world] - other[world] for world in sorted(one.keys() & other.keys())]


def a_third(found: Gains, skill: str, caps: Sequence[int]) -> Iterator[str]:
    """Ours, at the most calls of those read that are a third of GEPA's last, beside GEPA there."""
    last = caps[-1]
    thirds = [cap for cap in caps if 3 * cap <= last]
    values = (
        difference(found.get((skill, OURS, thirds[-1]), {}), found.get((skill, "gepa", last), {})) if thirds else []
    )
    if values:
        yield f"Promptstill with {thirds[-1]:,} calls minus GEPA with {last:,}: {mean_text(values, '+.1f')} points."
        yield ""


def mean_text(values: Sequence[float], form: str) -> str:
    """A mean in points, ± half of its 95 % interval where there are several values; empty without one."""
    if not values:
        return ""
    half = f" ± {196 * stdev(values) / math.sqrt(len(values)):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):{form}}{half}"
