"""Is the number honest? Coverage of the 95 % intervals, false gains, and how much the winner's dev score flatters.

    python -m benchmarks [--fast] honesty

Simulated (`coverage.py` on drawn scores, `searches.py` with the whole search) and real (`reread.py` on vLLM).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import reread
from benchmarks.cells import FAST, RESULTS, cell
from benchmarks.coverage import (
    GAINS,
    GROUPED_GAINS,
    GROUPED_SCORES,
    PASSAGE,
    SCORES,
    exchanged,
    gain_coverage,
    resampled,
    score_coverage,
)
from benchmarks.results import table
from benchmarks.searches import TRIALS, WORLDS, simulate
from optimizer.stats import gain

PART = "honesty"
ROWS, FAST_ROWS = (30, 50, 100, 200, 500), (30, 100)
SIMS, FAST_SIMS = (4_000, 500), (300, 0)  # of ours, and of BCa
SEARCHES, FAST_SEARCHES = 400, 20
REAL = 4  # cases of real replies: two scores, a gain and none
SIMULATED = (SCORES, GAINS, GROUPED_SCORES, GROUPED_GAINS, WORLDS)
PLANNED = len(ROWS) * (sum(len(cases) for cases in SIMULATED) + REAL) + 1  # cells, with that of the real readings
READINGS, FAST_READINGS = (8, 10_000), (2, 24)  # sampled readings, and test rows at most


def run(fast: bool) -> None:
    folder = FAST if fast else RESULTS
    simulated(folder, fast=fast)
    real(folder, fast=fast)


def simulated(folder: Path, *, fast: bool) -> None:
    sims, searches = (FAST_SIMS, FAST_SEARCHES) if fast else (SIMS, SEARCHES)
    for n in FAST_ROWS if fast else ROWS:
        for name, draw in SCORES.items():
            put(folder, {"what": "score", "case": name, "n": n}, partial(score_coverage, draw, n, *sims))
        for name, draw in GAINS.items():
            put(folder, {"what": "gain", "case": name, "n": n}, partial(gain_coverage, draw, n, *sims))
        for name, draw in GROUPED_SCORES.items():
            make = partial(score_coverage, draw, n, *sims, rows_a_group=PASSAGE)
            put(folder, {"what": "score", "case": name, "n": n}, make)
        for name, draw in GROUPED_GAINS.items():
            make = partial(gain_coverage, draw, n, *sims, rows_a_group=PASSAGE)
            put(folder, {"what": "gain", "case": name, "n": n}, make)
        for world in WORLDS:
            key: dict[str, str | int] = {"what": "search", "case": world, "n": n, "trials": TRIALS}
            put(folder, key, partial(simulate, world, n, searches))


def real(folder: Path, *, fast: bool) -> None:
    times, most = FAST_READINGS if fast else READINGS
    found = put(folder, {"what": "read again", "times": times}, partial(reread.read_again, times, most))
    sims = FAST_SIMS if fast else SIMS
    seed, demos = (np.mean(found[name]["greedy"], axis=0) for name in found)
    for n in FAST_ROWS if fast else ROWS:
        for name, scores in zip(found, (seed, demos), strict=True):
            make = partial(score_coverage, resampled(scores), n, *sims)
            put(folder, {"what": "score", "case": f"real, {name}", "n": n}, make)
        for name, draw in (("a gain", resampled(demos - seed)), ("no gain", exchanged(demos - seed))):
            put(folder, {"what": "gain", "case": f"real, {name}", "n": n}, partial(gain_coverage, draw, n, *sims))


def put(folder: Path, key: dict[str, str | int], make: Any) -> dict[str, Any]:
    return cell(PART, key | {"seed": 0}, make, folder=folder)


def section(cells: list[dict[str, Any]]) -> str:
    return "\n".join([
        "## Honesty of the number",
        "",
        *intervals(of(cells, "score"), "score", "The 95 % interval of a score"),
        *intervals(of(cells, "gain"), "gain", "The 95 % interval of a paired gain"),
        *false_gains(of(cells, "gain")),
        *searches(of(cells, "search")),
        *again(of(cells, "read again")),
    ]).rstrip()  # fmt: skip


def of(cells: list[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    return [one for one in cells if one["key"]["what"] == what]


def intervals(cells: list[dict[str, Any]], what: str, title: str) -> list[str]:
    """Coverage by case and rows, and what is outside of the wanted band."""
    if not cells:
        return []
    sims = max(one["result"]["sims"] for one in cells)
    lines = [
        f"### {title}",
        "",
        f"Share of simulations ({sims:,} each) whose interval holds the truth, in %; wanted: 93 to 97. In brackets a",
        "BCa bootstrap on the same draws. `width` is the mean width with the fewest rows, in points.",
        "",
    ]
    lines += grid(cells, lambda got: share(got["covered"]) + (f" ({share(got['bca'])})" if got["bca"] else ""))
    low, high = outside(cells)
    said = "Clear of what the number of simulations leaves open (99 %)"
    return [*lines, "", f"{said}: below 93 {named(low)}; above 97, wider than need be, {named(high)}.", ""]


def outside(cells: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Which cells' coverage is clearly below the wanted band, and which above."""
    low = [one for one in cells if one["result"]["covered"] + noise(one["result"]) < 0.93]
    return low, [one for one in cells if one["result"]["covered"] - noise(one["result"]) > 0.97]


def noise(got: dict[str, Any]) -> float:
    """How far a share of so many simulations may be off: 2.58 standard errors."""
    return float(2.58 * np.sqrt(got["covered"] * (1 - got["covered"]) / got["sims"]))


def grid(cells: list[dict[str, Any]], show: Any) -> list[str]:
    """A table of cases by numbers of rows."""
    ns = sorted({int(one["key"]["n"]) for one in cells})
    got = {(one["key"]["case"], one["key"]["n"]): one["result"] for one in cells}
    rows = []
    for name in dict.fromkeys(one["key"]["case"] for one in cells):
        width = got.get((name, ns[0]), {}).get("width")
        shown = [show(got[name, n]) if (name, n) in got else "" for n in ns]
        rows.append([name, *shown, *([f"{100 * width:.0f}"] if width is not None else [])])
    wide = len(rows[0]) > len(ns) + 1
    return table(["by rows", *map(str, ns), *(["width"] if wide else [])], rows)


def named(cells: Sequence[dict[str, Any]]) -> str:
    return "; ".join(f"{one['key']['case']} ({one['key']['n']})" for one in cells) or "none"


def share(value: float) -> str:
    return f"{100 * value:.1f}"


def false_gains(cells: list[dict[str, Any]]) -> list[str]:
    """How often the rule ships a candidate that is no better."""
    nulls = [one for one in cells if "no gain" in one["key"]["case"]]
    if not nulls:
        return []
    worst = max(nulls, key=lambda one: one["result"]["false"])
    lines = [
        "### False gains: A against A",
        "",
        "How often the rule ships a candidate that is no better, in %; wanted: at most 5. `real` deals the names of",
        "two real prompts anew on each row.",
        "",
    ]
    said = f"At most {share(worst['result']['false'])} %: {named([worst])}."
    return [*lines, *grid(without_width(nulls), lambda got: share(got["false"])), "", said, ""]


def without_width(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one | {"result": {k: v for k, v in one["result"].items() if k != "width"}} for one in cells]


def searches(cells: list[dict[str, Any]]) -> list[str]:
    """Whole searches: false gains, and dev optimism by the number of rows."""
    if not cells:
        return []
    rows = []
    for one in cells:
        key, got = one["key"], one["result"]
        rows.append([
            key["case"], str(key["n"]), f"{got['sims']}", share(got["shipped"]), share(got["false"]),
            f"{100 * got['gained']:+.1f}", f"{100 * got['optimism']:+.1f} ± {196 * got['optimism_error']:.1f}",
            f"{got['bought']:.0%}",
        ])  # fmt: skip
    head = ["world", "dev and test rows", "searches", "shipped %", "false %", "true gain", "dev optimism", "dev bought"]
    return [
        "### Whole searches on a simulated model",
        "",
        f"`optimizer.search` with {cells[0]['key']['trials']} trials, then `optimizer.measure`. Dev optimism is the"
        " winner's dev score minus its",
        "true accuracy, in points, ± 1.96 standard errors: what choosing by dev flatters, and test does not.",
        "",
        *table(head, rows),
        "",
    ]


def again(cells: list[dict[str, Any]]) -> list[str]:
    """The real readings: how many rows differ, and what the rule says of a prompt against itself."""
    rows = []
    for prompt, kinds in cells[-1]["result"].items() if cells else ():
        for kind, found in kinds.items():
            pairs = [(a, b) for a, b in combinations(found, 2)]
            changed = float(np.mean([np.mean(np.array(a) != np.array(b)) for a, b in pairs]))
            shipped = sum(gain(a, b, 0).clear or gain(b, a, 0).clear for a, b in pairs)
            scores = [float(np.mean(one)) for one in found]
            told = f"{100 * min(scores):.1f} to {100 * max(scores):.1f}"
            rows.append([f"{prompt}, {kind}", str(len(found[0])), told, f"{changed:.1%}", f"{shipped} of {len(pairs)}"])
    if not rows:
        return []
    head = ["prompt", "test rows", "score", "rows that differ", "pairs with a false gain"]
    return [
        "### Real A/A",
        "",
        f"recipes/qa.py on vLLM: each prompt against itself, greedy twice, and sampled at {reread.TEMPERATURE}. A pair",
        "counts in both directions, so 5 % of pairs are what the rule allows.",
        "",
        *table(head, rows),
        "",
    ]


def in_short(cells: list[dict[str, Any]]) -> str:
    """The table of README.md; "" until all of the full sizes are measured."""
    if len(cells) < PLANNED:
        return ""
    covered = of(cells, "score") + of(cells, "gain")
    low, high = outside(covered)
    shares = [one["result"]["covered"] for one in covered]
    sims = max(one["result"]["sims"] for one in covered)
    false = max(one["result"]["false"] for one in of(cells, "gain") if "no gain" in one["key"]["case"])
    alike = [one for one in of(cells, "search") if not WORLDS[one["key"]["case"]]]
    searched = max(one["result"]["false"] for one in alike)
    ns = ", ".join(str(one["key"]["n"]) for one in alike)
    flattered = ", ".join(f"{100 * one['result']['optimism']:.1f}" for one in alike)
    rows = [
        [f"95 % intervals that hold the truth: {len(covered)} cases of {sims:,} draws", "93 to 97 %",
         f"{share(min(shares))} to {share(max(shares))} %; {len(low)} clearly below, {len(high)} above"],
        ["draws without a gain that are shipped as one", "at most 5 %", f"at most {share(false)} %"],
        [f"whole searches, no prompt better, that ship a gain ({alike[0]['result']['sims']} each)", "at most 5 %",
         f"at most {share(searched)} %"],
        [f"their winner's dev score beyond its truth, dev of {ns} rows", "", f"{flattered} points"],
    ]  # fmt: skip
    return "\n".join(table(["in simulations whose truth is known", "wanted", "measured"], rows))
