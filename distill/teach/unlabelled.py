"""Rows without labels, from a file of their own: more inputs for the teacher to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptstill.errors import UserError
from promptstill.files import canonical_json
from promptstill.prompt.fields import Field
from promptstill.task.examples import Example, to_example
from promptstill.task.recipe import Recipe
from promptstill.task.rows import Row, read_jsonl
from promptstill.task.splits import Splits


def read_unlabelled(path: Path, recipe: Recipe, inputs: Sequence[Field], outputs: Sequence[Field]) -> list[Example]:
    """The rows of a JSON-lines file, checked as a recipe's are. Raises `UserError` naming the file and the line."""
    if not path.is_file():
        raise UserError(f"--unlabelled {path} does not exist.", "", "Give a file with one JSON object per line.")
    return [check_unlabelled(row, recipe, inputs, outputs) for row in read_jsonl(path)]


def check_unlabelled(
    row: Mapping[str, Any], recipe: Recipe, inputs: Sequence[Field], outputs: Sequence[Field]
) -> Example:
    """One row as an example. An output that is null counts as none; any other is refused."""
    bare = Row({key: value for key, value in row.items() if value is not None})
    bare.location = getattr(row, "location", "")
    given = [field.name for field in outputs if field.name in bare]
    if given:
        raise UserError(
            f"{bare.location}: the row has the output {', '.join(given)}.",
            "--unlabelled takes rows with inputs only, so its label would be ignored.",
            f"Remove {given[0]} from it, or move the row to the recipe's data.",
        )
    return to_example(bare, 0, recipe, inputs, outputs)


def unlabelled_rows(splits: Splits, more: Sequence[Example]) -> list[Example]:
    """The recipe's unlabelled rows and `more`, without repeated inputs and without inputs that train has."""
    seen = {canonical_json(dict(example.inputs)) for example in splits.train}
    rows: list[Example] = []
    for example in [*splits.unlabelled, *more]:
        inputs = canonical_json(dict(example.inputs))
        if inputs not in seen:
            seen.add(inputs)
            rows.append(example)
    return rows
