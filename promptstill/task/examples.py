"""Rows become examples: their fields are present and of the signature's types, which is checked before any call.

A row that does not fit is refused by name: by file and line where it came from a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptstill.errors import ReplyError, UserError
from promptstill.files import canonical_json, digest
from promptstill.prompt.fields import Field
from promptstill.task.recipe import Recipe
from promptstill.task.rows import Row


@dataclass(frozen=True)
class Example:
    """One row: its inputs, its outputs (none where it is unlabelled), and the whole row for the metric.

    location: file and line, for messages. group: the value of the recipe's group field, or else the inputs; rows of one
    group are not independent.
    """

    id: str
    location: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    row: Mapping[str, Any]
    group: str

    @property
    def group_id(self) -> str:
        """A short digest of the group, for files."""
        return digest(self.group)[:16]


def to_example(
    row: Mapping[str, Any], number: int, recipe: Recipe, inputs: Sequence[Field], outputs: Sequence[Field]
) -> Example:
    """The row as an example; `number` is its place in the data. Raises `UserError`."""
    location = row.location if isinstance(row, Row) else f"row {number}"
    absent = [field.name for field in inputs if field.name not in row]
    labelled = [field for field in outputs if field.name in row]
    if labelled and len(labelled) < len(outputs):
        absent += [field.name for field in outputs if field not in labelled]
    if absent:
        raise UserError(
            f"{location}: no field {', '.join(absent)}.",
            f"The row has {', '.join(row) or 'no field at all'}.",
            "Add it to the row, or rename the signature's field.",
        )
    refuse_broken_text(row, location)
    for field in inputs:
        if field.is_text and not isinstance(row[field.name], str):
            raise UserError(
                f"{location}: {field.name} is {type(row[field.name]).__name__}, not a string.",
                "",
                f"Write it as a string, or annotate {field.name} with its type in the signature.",
            )
    size = len(canonical_json({field.name: row[field.name] for field in inputs}).encode())
    if size > recipe.max_row_bytes:
        raise UserError(
            f"{location}: its inputs take {size:,} bytes, more than {recipe.max_row_bytes:,}.",
            "Such a row would overflow the model's context.",
            "Shorten it, or raise Recipe(max_row_bytes=…).",
        )
    input_values = {field.name: row[field.name] for field in inputs}
    output_values = {field.name: gold_value(field, row[field.name], location) for field in labelled}
    group = canonical_json(row.get(recipe.group) if recipe.group else input_values)
    return Example(digest([input_values, output_values])[:16], location, input_values, output_values, row, group)


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


def gold_value(field: Field, value: Any, location: str) -> Any:
    """The gold value of an output; of a list of accepted answers the first, which demos show. Raises `UserError`."""
    if isinstance(value, list) and field.type.get("type") != "array" and value:
        value = value[0]
    if field.is_text and not isinstance(value, str):
        raise UserError(
            f"{location}: {field.name} is {type(value).__name__}, not a string.", "", "Write it as a string."
        )
    try:
        return value if field.is_text else field.accept(value)
    except ReplyError as error:
        raise UserError(f"{location}: {error}.", "", "Mend the row, or the signature's type.") from error
