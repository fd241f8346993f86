"""Tables of measured figures in READMEs: written from cells, between marks that name the command.

python -m benchmarks.readme     # write README.md's tables again; measures nothing
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import honesty
from benchmarks.cells import RESULTS, read
from benchmarks.contest_report import IMPOSSIBLE, NAMES, Table, tables
from benchmarks.results import table

README = Path(__file__).parents[1] / "README.md"
END = "<!-- end of measured -->"
SHOWN = (250, 500, 1_000)
TASKS = {"trec": "TREC-6", "squad": "SQuAD", "tickets": "`tickets.py`", "extract": "`extract.py`"}


def begin(command: str) -> str:
    return f"<!-- measured: {command} -->"


def put(path: Path, command: str, text: str) -> None:
    """Set `text` between the marks of `command`, in place of what stood there. Raises `ValueError` without marks."""
    before, mark, rest = path.read_text(encoding="utf-8").partition(begin(command))
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{path} has no place for the table of: {command}")
    path.write_text(f"{before}{mark}\n{text}\n{END}{after}", encoding="utf-8")


def write_tables() -> None:
    """Renew README.md's tables, but those whose part is not measured so far that it can be told in short."""
    for part, in_short in TABLES.items():
        if text := in_short(read(part, RESULTS)):
            put(README, f"python -m benchmarks {part}", text)


def contest(records: Sequence[dict[str, Any]]) -> str:
    """The contest in short: each searcher's test score at each cap of `SHOWN`, and of how many seeds; "" for none."""
    searchers = {one["key"]["contestant"] for one in records if one["key"]["cap"]}
    order = [name for name in NAMES if name in searchers]
    if not order:
        return ""
    found = {name.partition(",")[0]: made for name, made in tables(records, order).items()}
    here = [name for name in TASKS if name in found]
    rows = [[NAMES[name], *(scores(found[task], task, name) for task in here)] for name in order]
    rows.append(["seeds", *(", ".join(seeds(found[task], "ours")) for task in here)])
    return "\n".join(table(["searcher", *(TASKS[task] for task in here)], rows))


def scores(made: Table, task: str, name: str) -> str:
    """The scores at each cap; the number of seeds where it is not that of the last row."""
    shown = [made.at(name, cap) for cap in SHOWN]
    if not any(shown):
        return "not possible" if (name, task) in IMPOSSIBLE else "not measured"
    told = ", ".join(f"{100 * one.average:.1f}" if one else "–" for one in shown)
    own, other = seeds(made, "ours"), seeds(made, name)
    alike = all(one in (mine, "–") for one, mine in zip(other, own, strict=True))
    return told if alike else f"{told} (seeds: {', '.join(other)})"


def seeds(made: Table, name: str) -> list[str]:
    return [str(len(one.seeds)) if (one := made.at(name, cap)) else "–" for cap in SHOWN]


TABLES = {"contest": contest, "honesty": honesty.in_short}

if __name__ == "__main__":
    write_tables()
