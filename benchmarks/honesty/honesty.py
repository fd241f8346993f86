"""Is the number honest? Coverage of the 95 % intervals, false gains, and how far the winner's dev score is too high.

    python -m benchmarks [--fast] honesty

Simulated (`coverage.py` with drawn scores, `searches.py` with whole searches) and real (`repeats.py` on vLLM).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import FAST, RESULTS, cell
from benchmarks.honesty import folds, repeats
from benchmarks.honesty.coverage import (
    GAINS,
    SCORES,
    gain_coverage,
    grouped_coverage,
    resample,
    score_coverage,
    swap_names,
)
from benchmarks.honesty.groups import GROUPED_GAINS, GROUPED_SCORES
from benchmarks.honesty.searches import CASES, SAME, simulate
from benchmarks.results import table
from promptstill.stats import gain
from tests.support.world import TRIALS

PART = "honesty"
ROWS, FAST_ROWS = (30, 50, 100, 200, 500), (30, 100)
SIMS, FAST_SIMS = (4_000, 100), (300, 0)  # of ours, and of BCa
GROUPED_SIMS, FAST_GROUPED_SIMS = 2_000, 200
SEARCH_ROWS, GROUPED_SEARCH_ROWS = (30, 100), (100, 200)  # in groups 30 rows tell nothing
SEARCHES, FAST_SEARCHES = 20, 4
REAL = 4  # cases with real replies: two scores, a gain, and no gain
REPEATS, FAST_REPEATS = (8, 10_000), (2, 24)  # sampled repeats, and test rows at most
Key = dict[str, str | int]
Make = Callable[[], dict[str, Any]]


def run(fast: bool) -> None:
    folder = FAST if fast else RESULTS
    measure_real(folder, fast=fast)
    for key, make in simulated(fast=fast):
        put(folder, key, make)


def simulated(*, fast: bool) -> Iterator[tuple[Key, Make]]:
    """The cells of worlds whose truth is known, and what measures each."""
    for n in FAST_ROWS if fast else ROWS:
        yield from drawn(n, fast=fast)
    searches = FAST_SEARCHES if fast else SEARCHES
    for world, case in CASES.items():
        for n in GROUPED_SEARCH_ROWS if case.sizes else SEARCH_ROWS:
            yield {"what": "search", "case": world, "n": n, "trials": TRIALS}, partial(simulate, world, n, searches)
    yield from folds.simulated(fast=fast)


def drawn(n: int, *, fast: bool) -> Iterator[tuple[Key, Make]]:
    """The cells of n drawn scores and differences."""
    sims, grouped = (FAST_SIMS, FAST_GROUPED_SIMS) if fast else (SIMS, GROUPED_SIMS)
    for name, draw in SCORES.items():
        yield {"what": "score", "case": name, "n": n}, partial(score_coverage, draw, n, *sims)
    for name, draw in GAINS.items():
        yield {"what": "gain", "case": name, "n": n}, partial(gain_coverage, draw, n, *sims)
    for what, cases in (("score", GROUPED_SCORES), ("gain", GROUPED_GAINS)):
        for name, case in cases.items():
            yield {"what": what, "case": name, "n": n}, partial(grouped_coverage, case, n, grouped)


def measure_real(folder: Path, *, fast: bool) -> None:
    times, most = FAST_REPEATS if fast else REPEATS
    found = put(folder, {"what": "repeat", "times": times}, partial(repeats.repeat_test, times, most))
    sims = FAST_SIMS if fast else SIMS
    baseline, demos = (np.mean(found[name]["greedy"], axis=0) for name in found)
    for n in FAST_ROWS if fast else ROWS:
        for name, scores in zip(found, (baseline, demos), strict=True):
            make = partial(score_coverage, resample(scores), n, *sims)
            put(folder, {"what": "score", "case": f"real, {name}", "n": n}, make)
        for name, draw in (("a gain", resample(demos - baseline)), ("no gain", swap_names(demos - baseline))):
            put(folder, {"what": "gain", "case": f"real, {name}", "n": n}, partial(gain_coverage, draw, n, *sims))


def planned() -> int:
    """How many cells there are in the full sizes, with that of the repeats."""
    return len([*simulated(fast=False)]) + len(ROWS) * REAL + 1


def put(folder: Path, key: Key, make: Make) -> dict[str, Any]:
    return cell(PART, key | {"seed": 0}, make, folder=folder)


def section(cells: list[dict[str, Any]]) -> str:
    return "\n".join([
        "## Honesty of the number",
        "",
        *interval_lines(of_kind(cells, "score"), "The 95 % interval of a score"),
        *interval_lines(of_kind(cells, "gain"), "The 95 % interval of a paired gain"),
        *false_gain_lines(of_kind(cells, "gain")),
        *search_lines(of_kind(cells, "search")),
        *folds.lines(of_kind(cells, folds.KIND)),
        *repeat_lines(of_kind(cells, "repeat")),
    ]).rstrip()  # fmt: skip


def of_kind(cells: list[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    found = [one for one in cells if one["key"]["what"] == what]
    return sorted(found, key=by_case) if what in ("search", folds.KIND) else found


def by_case(cell: dict[str, Any]) -> tuple[str, int]:
    """For an order in which a case's cells stand together, fewest rows first."""
    return str(cell["key"]["case"]), int(cell["key"]["n"])


def interval_lines(cells: list[dict[str, Any]], title: str) -> list[str]:
    """Coverage by case and rows, and which cells are outside of the wanted band."""
    if not cells:
        return []
    sims = max(one["result"]["sims"] for one in cells)
    lines = [
        f"### {title}",
        "",
        f"Share of simulations (up to {sims:,} each) whose interval holds the truth, in %; wanted: 93 to 97, above it",
        "only where rows or groups are few. In brackets, on the same draws, a BCa bootstrap, or where rows are grouped",
        "Student's t on the plain cluster-robust variance. `width` is the mean width with the fewest rows, in points.",
        "",
    ]
    lines += grid(cells, coverage_text)
    low, high = outside_band(cells)
    found = f"below 93 {case_names(low)}; above 97, so wider than needed, {case_names(high)}"
    return [*lines, "", f"By more than chance (99 %): {found}.", "", *group_lines(cells)]


def group_lines(cells: list[dict[str, Any]]) -> list[str]:
    """The effective number of groups, by case and rows."""
    grouped = [one for one in cells if "groups" in one["result"]]
    if not grouped:
        return []
    lines = ["Effective number of groups, in the mean; below five the rule claims nothing:", ""]
    return [*lines, *grid(without_width(grouped), lambda got: f"{got['groups']:.1f}"), ""]


def coverage_text(got: Mapping[str, Any]) -> str:
    """The share covered, and in brackets that of the interval beside it."""
    beside = got["plain"] if "plain" in got else got["bca"]
    return share(got["covered"]) + (f" ({share(beside)})" if beside else "")


def outside_band(cells: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The cells whose coverage is clearly below the wanted band, and those clearly above."""
    low = [one for one in cells if one["result"]["covered"] + noise(one["result"]) < 0.93]
    return low, [one for one in cells if one["result"]["covered"] - noise(one["result"]) > 0.97]


def noise(got: dict[str, Any]) -> float:
    """How far the share may be off by chance: 2.58 standard errors."""
    return float(2.58 * np.sqrt(got["covered"] * (1 - got["covered"]) / got["sims"]))


def grid(cells: list[dict[str, Any]], show: Any) -> list[str]:
    """A table of cases by numbers of rows."""
    ns = sorted({int(one["key"]["n"]) for one in cells})
    got = {(one["key"]["case"], one["key"]["n"]): one["result"] for one in cells}
    rows = []
    for name in dict.fromkeys(one["key"]["case"] for one in cells):
        width = got.get((name, ns[0]), {}).get("width")
        texts = [show(got[name, n]) if (name, n) in got else "" for n in ns]
        rows.append([name, *texts, *([f"{100 * width:.0f}"] if width is not None else [])])
    wide = len(rows[0]) > len(ns) + 1
    return table(["by rows", *map(str, ns), *(["width"] if wide else [])], rows)


def case_names(cells: Sequence[dict[str, Any]]) -> str:
    return "; ".join(f"{one['key']['case']} ({one['key']['n']})" for one in cells) or "none"


def share(value: float) -> str:
    return f"{100 * value:.1f}"


def false_gain_lines(cells: list[dict[str, Any]]) -> list[str]:
    """How often the rule ships a candidate that is no better."""
    nulls = [one for one in cells if "no gain" in one["key"]["case"]]
    if not nulls:
        return []
    worst = max(nulls, key=lambda one: one["result"]["false"])
    lines = [
        "### False gains: A against A",
        "",
        "How often the whole rule (interval, p-value, effective groups) ships a candidate that is no better, in %;",
        "wanted: at most 3. `real` swaps the names of two real prompts at random on each row.",
        "",
    ]
    most = f"At most {share(worst['result']['false'])} %: {case_names([worst])}."
    return [*lines, *grid(without_width(nulls), lambda got: share(got["false"])), "", most, ""]


def without_width(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one | {"result": {k: v for k, v in one["result"].items() if k != "width"}} for one in cells]


def search_lines(cells: list[dict[str, Any]]) -> list[str]:
    """Whole searches: false gains, and dev optimism by the number of rows."""
    if not cells:
        return []
    rows = []
    for one in cells:
        key, got = one["key"], one["result"]
        rows.append([
            key["case"], str(key["n"]), f"{got['sims']} × {got['tests']}", share(got["shipped"]), share(got["false"]),
            f"{100 * got['gain']:+.1f}", f"{100 * got['optimism']:+.1f} ± {196 * got['optimism_error']:.1f}",
            f"{got['evaluated']:.0%}",
        ])  # fmt: skip
    head = ["world", "dev and test rows", "searches × test splits", "shipped %", "false %", "true gain", "dev optimism",
            "dev rows evaluated"]  # fmt: skip
    return [
        "### Whole searches on a simulated model",
        "",
        f"`optimizer.search` with {cells[0]['key']['trials']} trials, then the comparison on test, on several splits",
        "of rows that are new to it. With groups a prompt is better in some of them and worse in others. Dev optimism",
        "is the winner's dev score minus its true accuracy, in points, ± 1.96 standard errors: choosing by dev makes",
        "it too high. Test has no such error.",
        "",
        *table(head, rows),
        "",
    ]


def repeat_lines(cells: list[dict[str, Any]]) -> list[str]:
    """How many rows of real repeats differ, and what the rule says of a prompt against itself."""
    rows = []
    for prompt, kinds in cells[-1]["result"].items() if cells else ():
        for kind, found in kinds.items():
            pairs = [(a, b) for a, b in combinations(found, 2)]
            changed = float(np.mean([np.mean(np.array(a) != np.array(b)) for a, b in pairs]))
            shipped = sum(gain(a, b, 0).clear or gain(b, a, 0).clear for a, b in pairs)
            scores = [float(np.mean(one)) for one in found]
            band = f"{100 * min(scores):.1f} to {100 * max(scores):.1f}"
            rows.append([f"{prompt}, {kind}", str(len(found[0])), band, f"{changed:.1%}", f"{shipped} of {len(pairs)}"])
    if not rows:
        return []
    head = ["prompt", "test rows", "score", "rows that differ", "pairs with a false gain"]
    return [
        "### Real A/A",
        "",
        f"recipes/qa.py on vLLM: each prompt against itself, greedy twice, and sampled at {repeats.TEMPERATURE}.",
        "A pair is tried in both directions, so the rule allows 5 % of pairs.",
        "",
        *table(head, rows),
        "",
    ]


def short_table(cells: list[dict[str, Any]]) -> str:
    """The table of docs/concepts.md; "" until all cells of the full sizes are measured."""
    if len(cells) < planned():
        return ""
    covered = of_kind(cells, "score") + of_kind(cells, "gain")
    low, high = outside_band(covered)
    shares = [one["result"]["covered"] for one in covered]
    sims = max(one["result"]["sims"] for one in covered)
    false = max(one["result"]["false"] for one in of_kind(cells, "gain") if "no gain" in one["key"]["case"])
    null = [one for one in of_kind(cells, "search") if not CASES[one["key"]["case"]].spread]
    compared = sum(one["result"]["sims"] * one["result"]["tests"] for one in null)
    false_searches = sum(one["result"]["false"] * one["result"]["sims"] * one["result"]["tests"] for one in null)
    alike = [one for one in null if one["key"]["case"] == SAME]
    ns = ", ".join(str(one["key"]["n"]) for one in alike)
    optimism = ", ".join(f"{100 * one['result']['optimism']:.1f}" for one in alike)
    rows = [
        [f"95 % intervals that hold the truth: {len(covered)} cases of up to {sims:,} draws", "93 to 97 %",
         f"{share(min(shares))} to {share(max(shares))} %; {len(low)} clearly below, {len(high)} above"],
        ["draws without a gain that are shipped as a gain", "at most 3 %", f"at most {share(false)} %"],
        [f"whole searches, no prompt better, with and without groups: winners shipped, of {compared:,} comparisons",
         "at most 3 %", f"{share(false_searches / compared)} %"],
        [f"their winner's dev score above its true accuracy, dev of {ns} rows", "", f"{optimism} points"],
        folds.short_row(of_kind(cells, folds.KIND)),
    ]  # fmt: skip
    return "\n".join(table(["in simulations whose truth is known", "wanted", "measured"], rows))
