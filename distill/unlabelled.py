"""Rows without labels, from a file of their own: more inputs for the teacher to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optimizer.errors import UserError
from optimizer.examples import Example, Splits, check_row
from optimizer.fields import Field
from optimizer.files import canonical
from optimizer.recipe import Recipe, Row, read_jsonl


def read_unlabelled(path: Path, recipe: Recipe, inputs: Sequence[Field], outputs: Sequence[Field]) -> list[Example]:
    """The rows of a JSON-lines file, checked as a recipe's are. Raises `UserError` naming the file and the line."""
    if not path.is_file():
        raise UserError(f"--unlabelled {path} does not exist.", "", "Give a file with one JSON object a line.")
    return [check_unlabelled(row, recipe, inputs, outputs) for row in read_jsonl(path)]


def check_unlabelled(
    row: Mapping[str, Any], recipe: Recipe, inputs: Sequence[Field], outputs: Sequence[Field]
) -> Example:
    """One row; an output that is null counts as none."""
    bare = Row({key: value for key, value in row.items() if value is not None})
    bare.where = getattr(row, "where", "")
    given = [field.name for field in outputs if field.name in bare]
    if given:
        raise UserError(
            f"{bare.where}: the row has the output {', '.join(given)}.",
            "--unlabelled takes rows with inputs only, so its label would be ignored.",
            f"Remove {given[0]} from it, or move the row to the recipe's data.",
        )
    return check_row(bare, 0, recipe, inputs, outputs)


def merge(splits: Splits, more: Sequence[Example]) -> tuple[list[Example], int]:
    """The recipe's unlabelled rows and `more`, none twice and none that train has; and how many were left out."""
    seen = {canonical(dict(example.inputs)) for example in splits.train}
    kept: list[Example] = []
    for example in [*splits.unlabelled, *more]:
        text = canonical(dict(example.inputs))
        if text not in seen:
            seen.add(text)
            kept.append(example)
    return kept, len(splits.unlabelled) + len(more) - len(kept)
