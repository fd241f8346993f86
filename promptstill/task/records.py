"""The rows of a recipe's `examples`, whatever holds them: files that were read, data frames, DSPy examples, data sets.

pandas, polars and datasets are known by their attributes, and none of them is imported. Their empty cells (None, NaN,
NaT) are None, their numbers Python's, their dates ISO texts. What is no row is refused by its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from typing import Any

from promptstill.errors import UserError
from promptstill.task.rows import TableRow
from promptstill.task.tables import refuse_same_names

EMPTY_TYPES = ("NAType", "NaTType")  # pandas' own; they are equal to nothing, and NA has no truth value
KNOWN = "Give mappings, dspy.Example objects, a data frame, or a data set of Hugging Face."


def to_rows(examples: Any) -> list[Mapping[str, Any]]:
    """The rows, in their order. Raises `UserError`."""
    if isinstance(examples, Mapping):
        names = ", ".join(map(str, examples))
        raise UserError(f"examples is one mapping, with {names}.", KNOWN, "Name the part that has the rows.")
    if hasattr(examples, "columns") and hasattr(examples, "to_dict"):
        return frame_rows(examples)
    if isinstance(examples, str | bytes) or not isinstance(examples, Iterable):
        raise UserError(f"examples is {type(examples).__name__}, not rows.", "", KNOWN)
    if hasattr(examples, "column_names"):
        return [table_row(to_mapping(row, number), number) for number, row in enumerate(examples, 1)]
    return [to_mapping(row, number) for number, row in enumerate(examples, 1)]


def frame_rows(frame: Any) -> list[Mapping[str, Any]]:
    """The rows of a data frame, of pandas or polars. Raises `UserError` for two columns of one name."""
    refuse_same_names([str(name) for name in frame.columns], "The data frame")
    rows = frame.to_dicts() if hasattr(frame, "to_dicts") else frame.to_dict("records")
    return [table_row(row, number) for number, row in enumerate(rows, 1)]


def to_mapping(row: Any, number: int) -> Mapping[str, Any]:
    """A row as a mapping: one as it is, a `dspy.Example` by its `toDict`. Raises `UserError` for anything else."""
    if isinstance(row, Mapping):
        return row
    if hasattr(row, "toDict"):
        return dict(row.toDict())
    raise UserError(f"row {number} is {type(row).__name__}, not a mapping of fields.", "", KNOWN)


def table_row(row: Mapping[Any, Any], number: int) -> TableRow:
    """A row of a table in memory. Raises `UserError`."""
    made = TableRow({str(name): cell_value(value, str(name), number) for name, value in row.items()})
    made.location = f"row {number}"
    return made


def cell_value(value: Any, name: str, number: int) -> Any:
    """A cell as plain JSON would hold it. Raises `UserError` where it cannot."""
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        value = value.tolist()
    if value is None or type(value).__name__ in EMPTY_TYPES or (isinstance(value, float) and value != value):  # noqa: PLR0124 (NaN)
        return None
    if isinstance(value, list | tuple):
        return [cell_value(one, name, number) for one in value]
    if isinstance(value, Mapping):
        return {str(key): cell_value(one, name, number) for key, one in value.items()}
    if isinstance(value, datetime):
        return (value.date() if value.timetz() == time() else value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str | int | float | bool):
        return value
    raise UserError(
        f"row {number}: {name} is {type(value).__name__}.",
        "A row holds texts, numbers, dates, lists and objects.",
        f"Turn it into one of them, or leave the column {name} out.",
    )
