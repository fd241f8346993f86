"""benchmarks/RESULTS.md, written from the stored cells alone: machine, versions, dates, and the command of each part.

python -m benchmarks.results     # write the page again; measures nothing
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cells import FAST, RESULTS, read
from promptstill.files import write_json, write_text
from promptstill.text import plural

PAGE = Path(__file__).parent / "RESULTS.md"
PARTS = {  # each part's module: its `run(fast)` fills cells, its `section(records)` is the Markdown of them
    "contest": "benchmarks.contest.contest",
    "ablations": "benchmarks.contest.ablations",
    "simulated": "benchmarks.simulation.simulated",
    "rules": "benchmarks.simulation.rules.rules",
    "honesty": "benchmarks.honesty.honesty",
    "few": "benchmarks.few_rows",
    "client": "benchmarks.speed.client",
    "middleware": "benchmarks.speed.middleware",
    "limits": "benchmarks.speed.limits",
    "training": "benchmarks.speed.training",
    "variants": "benchmarks.speed.variants",
    "growth": "benchmarks.speed.growth",
}
MACHINE = "machine"  # the machines of older cells, which do not name their own
ENDED = "ended.json"
HEAD = """# Results

Written by `make bench`; do not edit. Full results are in `benchmarks/results/`, those of `make bench FAST=1` in
`benchmarks/results/fast/`, one line a cell. A part shows its full results, and its fast ones only where it has no
others.
"""


def note_end(folder: Path, part: str, problem: str | None) -> None:
    """Keep how the last run of a part ended."""
    write_json(folder / ENDED, {**read_ends(folder), part: problem})


def read_ends(folder: Path) -> dict[str, str | None]:
    """What stopped each part when it was last run; None where nothing did."""
    path = folder / ENDED
    return dict(json.loads(path.read_text())) if path.exists() else {}


def write_page(page: Path = PAGE, folder: Path = RESULTS) -> None:
    """Write the page from the cells of a folder and its fast one: the known parts, then others measured there."""
    parts = dict.fromkeys([*PARTS, *read_ends(folder), *read_ends(folder / FAST.name)])
    write_text(page, "\n".join([HEAD, *(section(part, folder, folder / FAST.name) for part in parts)]))


def section(part: str, full: Path, fast: Path) -> str:
    """One part: its own Markdown and how it was measured, or why there is none."""
    folder, fast_only = (full, False) if read(part, full) else (fast, True)
    records = read(part, folder)
    problem = read_ends(folder).get(part) or read_ends(full).get(part)
    if not records:
        return "\n".join([f"## {part}", "", f"Not measured: {why_absent(part, problem)}", ""])
    lines = [render(part, records), "", *provenance(part, records, folder, fast=fast_only)]
    if problem:
        lines += ["", f"**The last run of this part stopped early:** {problem}"]
    return "\n".join([*lines, ""])


def render(part: str, records: list[dict[str, Any]]) -> str:
    """The part's own Markdown. An error in it is shown in its place, and leaves the other parts on the page."""
    try:
        return str(importlib.import_module(PARTS[part]).section(records)).rstrip()
    except Exception as error:
        return f"## {part}\n\nIts cells cannot be shown: {type(error).__name__} {error}."


def why_absent(part: str, problem: str | None) -> str:
    """Why a part has no cells."""
    if problem:
        return problem
    return f"`{command(part)}` has not been run." if part in PARTS else "there is no such part."


def command(part: str, *, fast: bool = False) -> str:
    return f"python -m benchmarks {'--fast ' if fast else ''}{part}"


def provenance(part: str, records: Sequence[dict[str, Any]], folder: Path, *, fast: bool) -> list[str]:
    """The command, when, on what, with which versions and seeds."""
    first, last = min(one["at"] for one in records), max(one["at"] for one in records)
    seeds = sorted({one["key"]["seed"] for one in records if "seed" in one["key"]}) or [0]
    versions = {name: value for one in records for name, value in one["versions"].items()}
    return [
        f"> {'Fast mode (small sizes). ' if fast else ''}`{command(part, fast=fast)}`: {len(records)} cells,"
        f" {first} to {last}. Seeds {', '.join(map(str, seeds))}.",
        f"> {machines(records, folder)}",
        "> " + ", ".join(f"{name} {value}" for name, value in versions.items()) + ".",
    ]


def machines(records: Sequence[dict[str, Any]], folder: Path) -> str:
    """The machines that these cells were measured on; where a cell names none, all machines that the folder notes."""
    noted = [one["machine"] for one in records if "machine" in one]
    if len(noted) < len(records):
        noted += [one["key"] for one in read(MACHINE, folder)]
    return " / ".join(dict.fromkeys(machine_text(one) for one in noted)) or "Machine not noted."


def machine_text(machine: dict[str, Any]) -> str:
    gpus = f", {machine['gpus']} GPU" if machine["gpus"] else ", no GPU"
    cores = plural(machine["cores"], "core")
    return f"{cores} ({machine['processor']}; {machine['flags']}), {machine['memory_gib']} GiB{gpus}."


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table: the first column to the left, the others to the right."""
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(["---", *["---:"] * (len(head) - 1)]) + "|"]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows)]


if __name__ == "__main__":
    write_page()
