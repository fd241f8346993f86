"""Rows from a CSV file, as spreadsheets and databases write it: the first line names the columns.

Refuses, by line, what is no table: rows of another length than the header, columns without a name or of one name,
quotes that do not close, NUL characters and other encodings. Every value is text; examples.py reads numbers and dates
from it, where the signature has them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from promptstill.errors import UserError
from promptstill.task.rows import TableRow, describe_bad_bytes, find_data_file
from promptstill.text import plural

DELIMITERS = ",;\t|"


def read_csv(
    path: str | Path,
    *,
    delimiter: str | None = None,
    encoding: str = "utf-8",
    rename: Mapping[str, str] | None = None,
) -> list[Mapping[str, Any]]:
    """The rows of a CSV file; an empty cell is None. Raises `UserError`, which names the line.

    delimiter: by default the one of `,` `;` tab `|` that splits the first line into most columns. rename: new names of
    columns, such as {"Mail text": "mail_text"}.
    """
    resolved = find_data_file(path)
    try:
        with resolved.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as file:
            rows = list(_read_rows(_text_lines(file, resolved), resolved, delimiter, rename or {}))
    except LookupError as error:
        raise UserError(f"{encoding} is no encoding.", "", 'Name one as Python does, such as "cp1252".') from error
    except UnicodeError as error:
        raise UserError(
            f"{resolved} is not {encoding.upper()} text.",
            describe_bad_bytes(resolved, encoding) or str(error),
            'Save it as UTF-8, or name its encoding: read_csv(…, encoding="cp1252")',
        ) from error
    if not rows:
        raise UserError(f"The data file {resolved} has no rows.", "", "Put a header line into it, and a line a row.")
    return rows


def _text_lines(file: Iterable[str], path: Path) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        if "\0" in line:
            raise UserError(
                f"{path}, line {number}: it has a NUL character.",
                "It is no text file, or its encoding is UTF-16.",
                'Save it as UTF-8, or name its encoding: read_csv(…, encoding="utf-16")',
            )
        yield line


def _read_rows(
    lines: Iterator[str], path: Path, delimiter: str | None, rename: Mapping[str, str]
) -> Iterator[Mapping[str, Any]]:
    head = _header_lines(lines)
    records = _records(chain(head, lines), path, delimiter or find_delimiter(head))
    _, header = next(records, ("", []))
    names = _column_names(header, path, rename)
    for location, cells in records:
        if len(cells) != len(names):
            raise UserError(
                f"{location}: {plural(len(cells), 'cell')}, where the header has {len(names)}.",
                f"The columns are {', '.join(names)}.",
                "Put a cell that holds the delimiter into quotes, or name another delimiter: read_csv(…, delimiter=…)",
            )
        row = TableRow({name: cell if cell.strip() else None for name, cell in zip(names, cells, strict=True)})
        row.location = location
        yield row


def _header_lines(lines: Iterator[str]) -> list[str]:
    """The empty lines that the file begins with, and the header, on as many lines as its quotes span."""
    head: list[str] = []
    for line in lines:
        head.append(line)
        if line.strip() and "".join(head).count('"') % 2 == 0:
            break
    return head


def find_delimiter(header: Sequence[str]) -> str:
    """The one of DELIMITERS that splits the header into most columns; a comma where none does."""
    return max(DELIMITERS, key=lambda delimiter: sum(map(len, csv.reader(header, delimiter=delimiter))))


def _records(lines: Iterable[str], path: Path, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    """Each record that is not empty, behind the file and the line that it begins in."""
    try:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
    except TypeError as error:
        raise UserError(f"{delimiter!r} is no delimiter.", "", "Name one character, such as ';'.") from error
    begins = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield f"{path}, line {begins}", cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}, line {begins}: the row that begins here is not CSV.",
            f"{error}.",
            "Close its quotes; inside a cell in quotes write a quote twice.",
        ) from error


def _column_names(header: Sequence[str], path: Path, rename: Mapping[str, str]) -> list[str]:
    bare = [name.strip() for name in header]
    if unknown := [name for name in rename if name not in bare]:
        raise UserError(f"{path} has no column {unknown[0]}.", f"It has {', '.join(bare)}.", "Mend rename=….")
    names = [rename.get(name, name) for name in bare]
    if "" in names:
        number = names.index("") + 1
        raise UserError(f"{path}: column {number} has no name.", f"The header is {', '.join(names)}.", "Name it.")
    refuse_same_names(names, str(path))
    return names


def refuse_same_names(names: Sequence[str], table: str) -> None:
    """Refuse two columns of one name. Raises `UserError`."""
    if twice := [name for number, name in enumerate(names) if name in names[:number]]:
        raise UserError(
            f"{table} has two columns named {twice[0]}.", f"The columns are {', '.join(names)}.", "Rename one of them."
        )
