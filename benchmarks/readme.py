"""Tables of measured figures in READMEs: written from cells, between marks that name the command.

python -m benchmarks.readme     # write the contest's table in README.md again; measures nothing
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import honesty
from benchmarks.cells import RESULTS, read
from benchmarks.contest_report import NAMES, Table, tables
from benchmarks.results import table

README = Path(__file__).parents[1] / "README.md"
END = "<!-- end of measured -->"
SHOWN = (250, 500, 1_000)
TASKS = {"trec": "TREC-6", "squad": "SQuAD", "tickets": "`tickets.py`", "extract": "`extract.py`"}
IMPOSSIBLE = {("capo", "extract"): "one output only"}


def begin(command: str) -> str:
    return f"<!-- measured: {command} -->"


def put(path: Path, command: str, text: str) -> None:
    """Set `text` between the marks of `command`, in place of what stood there."""
    before, mark, rest = path.read_text(encoding="utf-8").partition(begin(command))
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{mark}\n{text}\n{END}{after}", encoding="utf-8")


def write_tables() -> None:
    """Renew README.md's tables, each where its part is measured in full."""
    for part, in_short in TABLES.items():
        records = read(part, RESULTS)
        if records:
            put(README, f"python -m benchmarks {part}", in_short(records))


def contest(records: Sequence[dict[str, Any]]) -> str:
    """The contest in short: each searcher's test score at each cap of `SHOWN`, and from how many seeds ours is."""
    searchers = {one["key"]["contestant"] for one in records if one["key"]["cap"]}
    order = [name for name in NAMES if name in searchers]
    found = {name.partition(",")[0]: made for name, made in tables(records, order).items()}
    here = [name for name in TASKS if name in found]
    rows = [[NAMES[name], *(scores(found[task], task, name) for task in here)] for name in order]
    rows.append(["seeds", *(seeds(found[task]) for task in here)])
    return "\n".join(table(["searcher", *(TASKS[task] for task in here)], rows))


def scores(made: Table, task: str, name: str) -> str:
    shown = [made.at(name, cap) for cap in SHOWN]
    if not any(shown):
        return IMPOSSIBLE.get((name, task), "not measured")
    return ", ".join(f"{100 * one.average:.1f}" if one else "–" for one in shown)


def seeds(made: Table) -> str:
    return ", ".join(str(len(one.seeds)) if (one := made.at("ours", cap)) else "–" for cap in SHOWN)


TABLES = {"contest": contest, "honesty": honesty.in_short}

if __name__ == "__main__":
    write_tables()
