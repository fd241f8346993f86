"""Rows from a recipe's data file. Each knows its file and line, so that a message can name it.

Refuses a file that is missing, empty or not UTF-8, and a line that is no JSON object. examples.py checks the fields.
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


class Row(dict[str, Any]):
    """A row, with its file and line for messages."""

    location: str = ""


@dataclass(frozen=True)
class _PathBase:
    """Where relative paths start: `folder`, or the working directory for those that the user gave by `-p`."""

    folder: Path
    from_user: frozenset[str]


_path_base: ContextVar[_PathBase | None] = ContextVar("path_base", default=None)


@contextmanager
def paths_from(folder: Path, from_user: Sequence[object]) -> Iterator[None]:
    """Inside, `read_jsonl` looks for relative paths in `folder`, except for those in `from_user`."""
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


def read_jsonl(path: str | Path) -> list[Mapping[str, Any]]:
    """The rows of a JSON-lines file. Raises `UserError`, which names the line that is no JSON object."""
    resolved = resolve_path(path)
    if not resolved.is_file():
        raise UserError(
            f"The data file {resolved} does not exist.",
            "",
            "Give another with: -p data=FILE.jsonl (one JSON object a line).",
        )
    rows: list[Mapping[str, Any]] = []
    with resolved.open(encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    rows.append(_to_row(line, f"{resolved}, line {number}"))
        except UnicodeDecodeError as error:
            raise UserError(f"{resolved} is not UTF-8 text.", str(error), "Save it as UTF-8.") from error
    if not rows:
        raise UserError(f"The data file {resolved} is empty.", "", "Put one JSON object a line into it.")
    return rows


def _to_row(line: str, location: str) -> Row:
    try:
        value = parse_json(line)
    except ValueError as error:
        raise UserError(f"{location}: not JSON.", str(error), "Write one JSON object a line.") from error
    if not isinstance(value, dict):
        raise UserError(f"{location}: not a JSON object.", "", 'Write {"field": "value", …} on each line.')
    row = Row(value)
    row.location = location
    return row
