"""Does our own work for a call grow with the rows? Whole runs on more and more dev rows, and prompts that pick their
demos from larger and larger pools, on a fake engine.

    python -m benchmarks.speed.growth [--fast]

Each size is measured in processes of its own. A process first makes a small run, so that imports and caches are left
out, and then measures CPU seconds and resident memory of the run itself, with its pages and files.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.cells import FAST, RESULTS, cell, read
from benchmarks.results import table
from benchmarks.speed import fake_engine

DEV, POOL = (50, 150, 500, 1_500, 5_000), (10, 30, 100, 300, 1_000)
FAST_DEV, FAST_POOL = (50, 500, 2_000), (10, 100, 1_000)
TRIALS, FAST_TRIALS = 16, 8
TRAIN, TEST, WARM_UP = 60, 50, 30
PROCESSES = 2
MIN_ADDED_CALLS = 1_000  # of a size: with fewer, the fixed work of a run counts for more than the calls
REQUESTS = 300  # that each pool's prompt renders
RECIPE = """
import dspy
from promptstill import Recipe, exact_match, recipe

class Even(dspy.Signature):
    "Is the number of the item even?"
    item: str = dspy.InputField()
    answer: str = dspy.OutputField()

def row(i, split):
    text = f"item number {i} of the long list, which lies beside item {i * 7919 % 10007} in row {i % 97}"
    return {"item": text, "answer": ("yes", "no")[i % 2], "split": split}

@recipe
def even(dev: int = 50, train: int = 60, test: int = 50) -> Recipe:
    names = ["train"] * int(train) + ["dev"] * int(dev) + ["test"] * int(test)
    return Recipe(signature=Even, examples=[row(i, name) for i, name in enumerate(names)],
                  metric=exact_match("answer"), model="fake")
"""


def run(fast: bool) -> None:
    folder = FAST if fast else RESULTS
    trials = FAST_TRIALS if fast else TRIALS
    for rows in FAST_DEV if fast else DEV:
        make = partial(measure_size, "dev", rows, trials)
        cell("growth", {"what": "dev", "size": rows, "trials": trials, "seed": 0}, make, folder=folder)
    for rows in FAST_POOL if fast else POOL:
        cell("growth", {"what": "pool", "size": rows}, partial(measure_size, "pool", rows, 0), folder=folder)


def measure_size(what: str, size: int, trials: int, *, processes: int = PROCESSES) -> dict[str, Any]:
    """The figures of one size, each the least of several new processes: other load on the machine only adds."""
    argv = [sys.executable, "-m", "benchmarks.speed.growth", "--measure", what, str(size), str(trials)]
    lines = [subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout for _ in range(processes)]
    found = [json.loads(line.splitlines()[-1]) for line in lines]
    return {name: min(one[name] for one in found) for name in found[0]}


def measure(what: str, size: int, trials: int) -> dict[str, float]:
    return measure_dev(size, trials) if what == "dev" else measure_pool(size)


def measure_dev(rows: int, trials: int) -> dict[str, float]:
    """A whole run of `optimize` with `rows` dev rows: its calls, CPU seconds, MiB of memory and MiB of files."""
    with tempfile.TemporaryDirectory() as name, fake_engine.running_fake_engine() as url:
        folder = Path(name)
        run_optimize(url, folder, WARM_UP, trials)
        start, memory = time.process_time(), peak_mib()
        calls, run_dir = run_optimize(url, folder, rows, trials)
        seconds = time.process_time() - start
        files = sum(path.stat().st_size for path in run_dir.rglob("*") if path.is_file()) / 2**20
    return {"calls": calls, "cpu_s": seconds, "memory_mib": peak_mib() - memory, "files_mib": files}


def run_optimize(url: str, folder: Path, rows: int, trials: int) -> tuple[int, Path]:
    """One run in this process: its calls and its folder."""
    from optimizer import SearchSettings, optimize

    recipe = folder / "even.py"
    recipe.write_text(RECIPE)
    sizes = {"dev": str(rows), "train": str(TRAIN), "test": str(TEST)}
    settings = SearchSettings(recipe=str(recipe), parameters=sizes, base_url=url, trials=trials, proposer="none")
    result = optimize(settings, runs=folder / "runs", output=None)
    return result.allowance.total.calls, result.run.path


def measure_pool(rows: int) -> dict[str, float]:
    """A prompt with nearest demos over a pool of `rows`: milliseconds once, and of each request; MiB of memory."""
    import dspy

    from promptstill.prompt.layouts.build import build_prompt
    from promptstill.prompt.layouts.parts import NearestDemos
    from promptstill.prompt.layouts.task import Task

    signature = dspy.Signature("item -> answer", "Is the number of the item even?")
    task, pool = Task(signature, "fake", 8), [demo(i) for i in range(rows)]
    build_prompt(task, "raw", "Answer.", NearestDemos(("item",), tuple(pool[:5])), k=4).request(
        {"item": demo(1)["item"]}
    )
    start, memory = time.process_time(), peak_mib()
    prompt = build_prompt(task, "raw", "Answer.", NearestDemos(("item",), tuple(pool)), k=4)
    prompt.request({"item": demo(-1)["item"]})
    once = time.process_time() - start
    requests = [{"item": demo(rows + i)["item"]} for i in range(REQUESTS)]
    start = time.process_time()
    for inputs in requests:
        prompt.request(inputs)
    each = (time.process_time() - start) / REQUESTS
    return {"once_ms": 1000 * once, "each_ms": 1000 * each, "memory_mib": peak_mib() - memory}


def demo(i: int) -> dict[str, str]:
    text = f"item number {i} of the long list, which lies beside item {i * 7919 % 10007} in row {i % 97}"
    return {"item": text, "answer": ("yes", "no")[i % 2]}


def peak_mib() -> float:
    """The most memory that this process has had. `getrusage` would count its parent's at the time of the fork."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) / 1024


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The exponent b of cost = a · size^b, by least squares on the logarithms: 0 is flat, 1 grows in proportion."""
    x, y = [math.log(size) for size in sizes], [math.log(max(cost, 1e-9)) for cost in costs]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def section(cells: list[dict[str, Any]]) -> str:
    by_kind = {what: sorted((one for one in cells if one["key"]["what"] == what), key=size) for what in ("dev", "pool")}
    lines = [
        "## Growth",
        "",
        "Our own CPU time and memory on a fake engine that answers at once. The slope is the exponent of cost over",
        "size: 0 is flat, 1 grows in proportion.",
        "",
    ]
    return "\n".join([*lines, *dev_lines(by_kind["dev"]), "", *pool_lines(by_kind["pool"])])


def size(record: dict[str, Any]) -> int:
    return int(record["key"]["size"])


def dev_lines(cells: Sequence[dict[str, Any]]) -> list[str]:
    """Our own cost of a call in whole runs, and the slope over the calls that each size adds."""
    if not cells:
        return []
    found = [one["result"] for one in cells]
    rows = [
        [f"{size(one):,}", f"{got['calls']:,.0f}", f"{got['cpu_s']:.1f}", f"{1000 * got['cpu_s'] / got['calls']:.2f}",
         f"{got['memory_mib']:.0f}", f"{1024 * got['memory_mib'] / got['calls']:.0f}", f"{got['files_mib']:.1f}"]
        for one, got in zip(cells, found, strict=True)
    ]  # fmt: skip
    head = ["dev rows", "calls", "CPU s", "CPU ms a call", "memory MiB", "KiB a call", "files MiB"]
    lines = [f"Whole runs of {cells[0]['key']['trials']} trials:", "", *table(head, rows)]
    apart = [cells[0]]  # and each size that adds enough calls to the one before
    for one in cells[1:]:
        if one["result"]["calls"] - apart[-1]["result"]["calls"] >= MIN_ADDED_CALLS:
            apart.append(one)
    costs = [added_ms(a["result"], b["result"]) for a, b in pairwise(apart)]
    if len(costs) > 1:
        sizes = [size(one) for one in apart]
        by = ", ".join(f"{cost:.2f} ({n:,})" for n, cost in zip(sizes[1:], costs, strict=True))
        flat = slope(sizes[1:], costs)
        lines += ["", f"CPU ms of each call that more rows than {sizes[0]} add: {by}; slope {flat:+.2f}."]
    return lines


def added_ms(fewer: Mapping[str, float], more: Mapping[str, float]) -> float:
    """CPU milliseconds of each call that one run makes beyond another."""
    return 1000 * (more["cpu_s"] - fewer["cpu_s"]) / (more["calls"] - fewer["calls"])


def pool_lines(cells: Sequence[dict[str, Any]]) -> list[str]:
    if not cells:
        return []
    found = [one["result"] for one in cells]
    rows = [
        [f"{size(one):,}", f"{got['each_ms']:.3f}", f"{got['once_ms']:.1f}", f"{got['memory_mib']:.1f}"]
        for one, got in zip(cells, found, strict=True)
    ]
    head = ["pool rows", "CPU ms a request", "CPU ms once a prompt", "memory MiB"]
    flat = slope([size(one) for one in cells], [got["each_ms"] for got in found])
    return ["Rendering with the 4 nearest demos of a pool:", "", *table(head, rows), "",
            f"CPU a request: slope {flat:+.2f}."]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--measure", nargs=3, metavar=("WHAT", "SIZE", "TRIALS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, rows, trials = options.measure
        print(json.dumps(measure(what, int(rows), int(trials))))
        return
    run(options.fast)
    print(section(read("growth", FAST if options.fast else RESULTS)))


if __name__ == "__main__":
    main()
