"""Rows from a recipe's data file. Each knows its file and line, so that a message can name it.

Refuses a file that is missing, empty, not UTF-8 or larger than MAX_BYTES, and a line that is no JSON object. tables.py
reads CSV, records.py what is in memory already; examples.py checks the fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptstill.errors import UserError
from promptstill.strict_json import parse_json

MAX_BYTES = 2**30  # of a data file; a search needs some hundred rows


class Row(dict[str, Any]):
    """A row, with its file and line for messages."""

    location: str = ""


class TableRow(Row):
    """A row of a table: a cell is a text, or what a data frame holds; an empty one is None."""


@dataclass(frozen=True)
class _PathBase:
    """Where relative paths start: `folder`, or the working directory for those that the user gave by `-p`."""

    folder: Path
    from_user: frozenset[str]


_path_base: ContextVar[_PathBase | None] = ContextVar("path_base", default=None)


@contextmanager
def paths_from(folder: Path, from_user: Sequence[object]) -> Iterator[None]:
    """Inside, `read_jsonl` and `read_csv` look for relative paths in `folder`, except for those in `from_user`."""
    token = _path_base.set(_PathBase(folder, frozenset(str(value) for value in from_user)))
    try:
        yield
    finally:
        _path_base.reset(token)


def resolve_path(path: str | Path) -> Path:
    """A path as the recipe means it (see `_PathBase`)."""
    base = _path_base.get()
    if base is None or str(path) in base.from_user:
        return Path(path)
    return base.folder / path


def read_jsonl(path: str | Path, *, rename: Mapping[str, str] | None = None) -> list[Mapping[str, Any]]:
    """The rows of a JSON-lines file. Raises `UserError`, which names the line that is no JSON object.

    rename: new names of fields, such as {"Mail text": "mail_text"}.
    """
    resolved = find_data_file(path)
    names = rename or {}
    rows: list[Mapping[str, Any]] = []
    with resolved.open(encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    rows.append(_to_row(line, f"{resolved}, line {number}", names))
        except UnicodeDecodeError as error:
            why = describe_bad_bytes(resolved, "utf-8") or str(error)
            raise UserError(f"{resolved} is not UTF-8 text.", why, "Save it as UTF-8.") from error
    if not rows:
        raise UserError(f"The data file {resolved} is empty.", "", "Put one JSON object a line into it.")
    return rows


def find_data_file(path: str | Path) -> Path:
    """Where the data file lies. Raises `UserError` where it does not exist, or is too large to be read."""
    resolved = resolve_path(path)
    if not resolved.is_file():
        raise UserError(
            f"The data file {resolved} does not exist.",
            "",
            "Give another with: -p data=FILE",
        )
    size = resolved.stat().st_size
    if size > MAX_BYTES:
        raise UserError(
            f"The data file {resolved} has {size / 2**30:.1f} GiB.",
            f"At most {MAX_BYTES / 2**30:.0f} GiB are read, and some hundred rows are enough.",
            "Give a random sample of its rows, such as 1,000.",
        )
    return resolved


def describe_bad_bytes(path: Path, encoding: str) -> str:
    """The first line that is not text in the encoding, and the byte's offset in the file; empty where all are."""
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                return f"Line {number} has the byte 0x{line[error.start]:02x}, at offset {offset + error.start:,}."
            offset += len(line)
    return ""


def _to_row(line: str, location: str, names: Mapping[str, str]) -> Row:
    try:
        value = parse_json(line)
    except ValueError as error:
        raise UserError(f"{location}: not JSON.", str(error), "Write one JSON object a line.") from error
    if not isinstance(value, dict):
        raise UserError(f"{location}: not a JSON object.", "", 'Write {"field": "value", …} on each line.')
    row = Row({names.get(name, name): cell for name, cell in value.items()})
    row.location = location
    return row
