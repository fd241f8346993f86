"""Rows become examples: their fields are present and of the signature's types, which is checked before any call.

A row that does not fit is refused by name: by file and line where it came from a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptstill.errors import ReplyError, UserError
from promptstill.files import canonical_json, digest
from promptstill.prompt.fields import Field
from promptstill.task.cells import likely_value, read_cell
from promptstill.task.recipe import Recipe
from promptstill.task.rows import Row, TableRow

if TYPE_CHECKING:
    from promptstill.task.program import Program


@dataclass(frozen=True)
class Example:
    """One row: its inputs, its outputs (none where it is unlabelled), and the whole row for the metric.

    location: file and line, for messages. group: the value of the recipe's group field, or else the inputs; rows of one
    group are not independent. program: what answers the row, with the prompt in place of one of its predictors; None
    where the prompt answers. whole: the program's row, where this row is the predictor's part of it.
    """

    id: str
    location: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    row: Mapping[str, Any]
    group: str
    program: Program | None = None
    whole: Example | None = None

    @property
    def group_id(self) -> str:
        """A short digest of the group, for files."""
        return digest(self.group)[:16]


def to_example(
    row: Mapping[str, Any], number: int, recipe: Recipe, inputs: Sequence[Field], outputs: Sequence[Field]
) -> Example:
    """The row as an example; `number` is its place in the data. Raises `UserError`."""
    location = row.location if isinstance(row, Row) else f"row {number}"
    labelled = not is_unlabelled(row, outputs)
    refuse_missing(row, [*inputs, *(outputs if labelled else [])], location)
    refuse_broken_text(row, location)
    for field in inputs:
        if field.is_text and not isinstance(row[field.name], str):
            raise UserError(
                f"{location}: {field.name} is {type(row[field.name]).__name__}, not a string.",
                "",
                f"Write it as a string, or annotate {field.name} with its type in the signature.",
            )
    input_values = {field.name: input_value(field, row, location) for field in inputs}
    size = len(canonical_json(input_values).encode())
    if size > recipe.max_row_bytes:
        raise UserError(
            f"{location}: its inputs take {size:,} bytes, more than {recipe.max_row_bytes:,}.",
            "Such a row would overflow the model's context.",
            "Shorten it, or raise Recipe(max_row_bytes=…).",
        )
    output_values = {field.name: gold_value(field, row, location) for field in outputs} if labelled else {}
    group = canonical_json(group_value(row, recipe.group, input_values))
    return Example(digest([input_values, output_values])[:16], location, input_values, output_values, row, group)


def is_unlabelled(row: Mapping[str, Any], outputs: Sequence[Field]) -> bool:
    """Whether the row has no output: none is there, or those that are there are null and not all may be."""
    if any(row.get(field.name) is not None for field in outputs):
        return False
    return not all(field.name in row and takes_none(field) for field in outputs)


def takes_none(field: Field) -> bool:
    """Whether None is a value of the field's type."""
    return fits(field, None)


def fits(field: Field, value: Any) -> bool:
    """Whether the value is one of the field's type as it is."""
    try:
        field.check(value)
    except ValueError:
        return False
    return True


def refuse_missing(row: Mapping[str, Any], fields: Sequence[Field], location: str) -> None:
    """Refuse a row that lacks one of the fields, or has nothing in it. Raises `UserError`."""
    if absent := [field.name for field in fields if field.name not in row]:
        raise UserError(
            f"{location}: no field {', '.join(absent)}.",
            f"The row has {', '.join(row) or 'no field at all'}.",
            "Add it to the row, or rename the signature's field.",
        )
    if empty := [field.name for field in fields if row[field.name] is None and not takes_none(field)]:
        raise UserError(
            f"{location}: {', '.join(empty)} is empty.",
            "",
            f"Fill it, leave the row out, or let it be empty in the signature: {empty[0]}: str | None",
        )


def input_value(field: Field, row: Mapping[str, Any], location: str) -> Any:
    """The value of an input; the cell of a table is read as the field's type. Raises `UserError`."""
    value = row[field.name]
    if field.is_text or value is None or not isinstance(row, TableRow):
        return value
    cell = read_cell(field, value, location)
    return cell if fits(field, cell) else accept_value(field, cell, location)


def group_value(row: Mapping[str, Any], group: str | None, inputs: Mapping[str, Any]) -> Any:
    """What makes rows belong together: the group field; the inputs without one, or where a table's cell is empty."""
    if not group or (isinstance(row, TableRow) and group in row and row[group] is None):
        return inputs
    return row.get(group)


def refuse_broken_text(row: Mapping[str, Any], location: str) -> None:
    """Refuse a row with half a character (a lone surrogate): JSON may hold one, but no file and no request can."""
    try:
        json.dumps(dict(row), ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start : error.end]
        raise UserError(
            f"{location}: its text is broken.",
            f"{half!r} is half a character (a lone surrogate).",
            "Write the row anew.",
        ) from error


def gold_value(field: Field, row: Mapping[str, Any], location: str) -> Any:
    """The gold value of an output. Raises `UserError`."""
    value = row[field.name]
    if isinstance(value, list) and not fits(field, value) and '"array"' not in canonical_json(field.type):
        raise UserError(
            f"{location}: {field.name} is a list, and the signature's {field.name} is none.",
            "A list is not taken for several accepted answers.",
            f"Put one answer into {field.name} and all of them into a field of their own, such as answers; "
            f'then name it in the metric: exact_match("{field.name}", accepted="answers")',
        )
    if field.is_text and not isinstance(value, str):
        raise UserError(
            f"{location}: {field.name} is {type(value).__name__}, not a string.", "", "Write it as a string."
        )
    if field.is_text:
        return value
    return accept_value(field, read_cell(field, value, location) if isinstance(row, TableRow) else value, location)


def accept_value(field: Field, value: Any, location: str) -> Any:
    """The value as the field's type has it. Raises `UserError`, with what was likely meant."""
    try:
        return field.accept(value)
    except ReplyError as error:
        hint = likely_value(field, value) or "Mend the row, or the signature's type."
        raise UserError(f"{location}: {error}.", "", hint) from error
