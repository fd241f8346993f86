"""Tables of measured figures in pages: written from cells, between marks that name the command.

python -m benchmarks.readme     # write the tables of README.md and docs/concepts.md again; measures nothing
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cells import RESULTS, read
from benchmarks.contest.report import NAMES, left_out_lines, title, winner_lines
from benchmarks.contest.table import CapResults, Table, tables
from benchmarks.honesty.honesty import short_table
from benchmarks.results import table

ROOT = Path(__file__).parents[1]
END = "<!-- end of measured -->"
TASKS = {"trec": "TREC-6", "tickets": "`tickets.py`"}


def begin(command: str) -> str:
    return f"<!-- measured: {command} -->"


def replace_table(path: Path, command: str, text: str) -> None:
    """Set `text` between the marks of `command`, in place of what stood there. Raises `ValueError` without marks."""
    before, mark, rest = path.read_text(encoding="utf-8").partition(begin(command))
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{path} has no place for the table of: {command}")
    path.write_text(f"{before}{mark}\n{text}\n{END}{after}", encoding="utf-8")


def write_tables() -> None:
    """Renew the pages' tables, except those of parts with too few cells."""
    for part, (page, to_table) in TABLES.items():
        if text := to_table(read(part, RESULTS)):
            replace_table(ROOT / page, f"python -m benchmarks {part}", text)


def contest_table(records: Sequence[dict[str, Any]]) -> str:
    """Each contestant's test score at each cap, with who is above ours beneath; "" without a searcher's records."""
    by_task = {name.partition(",")[0]: one for name, one in tables(records, list(NAMES)).items() if one.searchers}
    measured = {task: by_task[task] for task in TASKS if task in by_task}
    if not measured:
        return ""
    names = [name for name in NAMES if any(name in one.names for one in measured.values())]
    head = [f"{TASKS[task]}, {cap:,} calls" for task, one in measured.items() for cap in one.caps]
    rows = [[title(name), *(text for one in measured.values() for text in scores(one, name))] for name in names]
    beneath = {task: (*winner_lines(one), *left_out_lines(one)) for task, one in measured.items()}
    lines = [f"- {TASKS[task]}: {text}" for task, texts in beneath.items() for text in texts]
    return "\n".join([*table(["contestant", *head], rows), *(["", *lines] if lines else [])])


def scores(results: Table, name: str) -> list[str]:
    """The score at each cap; without a search it is the same at all."""
    if fixed := results.at(name, 0):
        return [short_score(fixed), *["the same"] * (len(results.caps) - 1)]
    left_out = {one["key"]["cap"] for one in results.left_out if one["key"]["contestant"] == name}
    return [
        short_score(one) if (one := results.at(name, cap)) else "left out" if cap in left_out else "not measured"
        for cap in results.caps
    ]


def short_score(one: CapResults) -> str:
    """The mean over seeds; in brackets the intervals over rows and over searches."""
    found = [interval for interval in (one.over_rows, one.over_searches) if interval]
    texts = [f"{100 * low:.0f}–{100 * high:.0f}" for low, high in found]
    return f"{100 * one.average:.1f}{one.times} ({'; '.join(texts)})"


TABLES = {"contest": ("README.md", contest_table), "honesty": ("docs/concepts.md", short_table)}

if __name__ == "__main__":
    write_tables()
