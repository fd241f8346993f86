"""Tables of measured figures in pages: written from cells, between marks that name the command.

python -m benchmarks.readme     # write the tables of README.md and docs/concepts.md again; measures nothing
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cells import RESULTS, read
from benchmarks.contest.report import IMPOSSIBLE, NAMES, Table, tables
from benchmarks.honesty.honesty import short_table
from benchmarks.results import table

ROOT = Path(__file__).parents[1]
END = "<!-- end of measured -->"
CAPS = (250, 500, 1_000)
TASKS = {"trec": "TREC-6", "squad": "SQuAD", "tickets": "`tickets.py`", "extract": "`extract.py`"}


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
    """Each searcher's test score at each cap of `CAPS`, and the number of seeds; "" without records."""
    searchers = {one["key"]["contestant"] for one in records if one["key"]["cap"]}
    order = [name for name in NAMES if name in searchers]
    if not order:
        return ""
    by_task = {name.partition(",")[0]: one for name, one in tables(records, order).items()}
    measured = [name for name in TASKS if name in by_task]
    rows = [[NAMES[name], *(scores(by_task[task], task, name) for task in measured)] for name in order]
    rows.append(["seeds", *(", ".join(seed_counts(by_task[task], "ours")) for task in measured)])
    return "\n".join(table(["searcher", *(TASKS[task] for task in measured)], rows))


def scores(results: Table, task: str, name: str) -> str:
    """The scores at each cap; the number of seeds where it is not that of the last row."""
    at_caps = [results.at(name, cap) for cap in CAPS]
    if not any(at_caps):
        return "not possible" if (name, task) in IMPOSSIBLE else "not measured"
    text = ", ".join(f"{100 * one.average:.1f}" if one else "–" for one in at_caps)
    own, other = seed_counts(results, "ours"), seed_counts(results, name)
    alike = all(one in (mine, "–") for one, mine in zip(other, own, strict=True))
    return text if alike else f"{text} (seeds: {', '.join(other)})"


def seed_counts(results: Table, name: str) -> list[str]:
    return [str(len(one.seeds)) if (one := results.at(name, cap)) else "–" for cap in CAPS]


TABLES = {"contest": ("README.md", contest_table), "honesty": ("docs/concepts.md", short_table)}

if __name__ == "__main__":
    write_tables()
