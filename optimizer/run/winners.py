"""Which winners were measured on which test rows: noted in each run.json, and counted over run folders.

A winner counts for a set of rows where it was measured on one of them or more, whatever else was in its test split: who
knows its score knows something of these rows. Rows are told apart by their ids, digests of inputs and outputs.

run.json has them as `measured`, a list of {"winners": [ids of prompts], "rows": [ids of rows]}.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from promptstill.files import read_json
from promptstill.scoring.rows import read_row_ids


def add_winners(
    measured: Iterable[Mapping[str, Any]], winners: Iterable[str], rows: Iterable[str]
) -> list[dict[str, list[str]]]:
    """`measured` with these winners, measured on these rows; winners of the same rows share an entry."""
    found = {tuple(entry["rows"]): set(entry["winners"]) for entry in measured}
    found.setdefault(tuple(sorted(rows)), set()).update(winners)
    return [{"winners": sorted(ids), "rows": list(key)} for key, ids in found.items() if ids]


def stored_measured(record: Mapping[str, Any], test_path: Path) -> list[dict[str, Any]]:
    """`measured` of a run.json. Where it names winners alone, as earlier versions wrote it, the rows are those
    of test.jsonl."""
    stored = record.get("measured", [])
    winners = [one for one in stored if isinstance(one, str)]
    rows: list[str] = []
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # a broken file names no rows
        rows = read_row_ids(test_path) if winners else []
    old = [{"winners": winners, "rows": sorted(rows)}] if winners else []
    return [*(one for one in stored if not isinstance(one, str)), *old]


def winners_on(rows: Iterable[str], folders: Iterable[Path]) -> set[str]:
    """The winners that runs in these folders measured on at least one of the rows. What is no run is passed over."""
    wanted, found = set(rows), set[str]()
    for path in run_files(folders):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # may be anything
            entries = stored_measured(read_json(path), path.with_name("test.jsonl"))
            found |= {winner for entry in entries if wanted & set(entry["rows"]) for winner in entry["winners"]}
    return found


def run_files(folders: Iterable[Path]) -> Iterator[Path]:
    """Each run.json of the runs in these folders, once."""
    for folder in {folder.resolve() for folder in folders}:
        yield from folder.glob("*/run.json")


def winners_line(count: int, rows: Sequence[object]) -> str:
    """How many winners these test rows have measured so far, in a sentence."""
    return f"{count} winner{'s have' if count != 1 else ' has'} been measured on these {len(rows)} test rows so far"
