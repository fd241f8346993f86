"""The unlabelled rows that can be asked, and the file of those that are to be labelled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from promptstill.errors import UserError
from promptstill.files import canonical_json, digest, write_jsonl
from promptstill.task.examples import Example, to_example
from promptstill.task.open import OpenTask
from promptstill.task.rows import read_jsonl
from promptstill.task.tables import read_csv

MOST_ROWS = 500  # that are asked
LEARN = "train"  # the split of a picked row, where the rows name theirs: a fair test is of rows that nobody picked


def unlabelled_rows(opened: OpenTask, file: Path | None, seed: int) -> list[Example]:
    """The rows of the file, or else of the recipe, that have no output, without those whose inputs are labelled already
    or repeat: in an order drawn by the seed, which a row keeps when others come. Raises `UserError` where there are
    none."""
    labelled = {content(row) for row in opened.splits.labelled}
    rows = opened.splits.unlabelled if file is None else read_rows(file, opened)
    found = {content(row): row for row in reversed(rows) if not row.outputs}
    left = [row for key, row in found.items() if key not in labelled]
    if not left:
        raise none_left(opened, file)
    return sorted(left, key=lambda row: digest([seed, row.id]))


def names_split(opened: OpenTask) -> bool:
    """Whether the labelled rows say in which split they are."""
    return any("split" in row.row for row in opened.splits.labelled)


def content(row: Example) -> str:
    """What tells inputs apart."""
    return canonical_json(dict(row.inputs))


def read_rows(file: Path, opened: OpenTask) -> list[Example]:
    """The rows of a file, checked as the recipe's are. Raises `UserError`."""
    rows = read_csv(file) if file.suffix.lower() == ".csv" else read_jsonl(file)
    task = opened.task
    return [to_example(row, number, opened.recipe, task.inputs, task.outputs) for number, row in enumerate(rows, 1)]


def none_left(opened: OpenTask, file: Path | None) -> UserError:
    """The refusal where nothing is left to label."""
    outputs = " and ".join(field.name for field in opened.task.outputs)
    return UserError(
        f"{file or opened.recipe_file.path} has no unlabelled row.",
        f"That is one without {outputs}, or with null there, whose inputs no labelled row has.",
        "Add such rows to the recipe's data, or name a file of them: --from ROWS.jsonl",
    )


def refuse_filled(path: Path, outputs: Iterable[str]) -> None:
    """Raises `UserError` where the file to be written is there and is no list without labels."""
    if not path.exists():
        return
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        filled = any(row[name] is not None for row in rows for name in outputs)
    except (OSError, ValueError, KeyError, TypeError):
        filled = True  # it is no such list at all
    if filled:
        raise UserError(
            f"{path} is there, and is no list without labels.",
            "It would be overwritten, with the labels that you may have filled in.",
            "Move it away, or name another file: -o FILE",
        )


def write_rows(path: Path, rows: Sequence[Example], opened: OpenTask) -> None:
    """Each row as it is, with an empty place for each output. Where the labelled rows name their split, so do these."""
    empty = {field.name: None for field in opened.task.outputs}
    split = {"split": LEARN} if names_split(opened) else {}
    write_jsonl(path, [{**split, **to_json(row), **empty} for row in rows], private=True)


def to_json(row: Example) -> Mapping[str, Any]:
    """The row with what JSON cannot hold as text; an empty cell is left out."""
    given = {name: value for name, value in row.row.items() if value is not None}
    return {name: value if is_json(value) else str(value) for name, value in given.items()} | dict(row.inputs)


def is_json(value: object) -> bool:
    """Whether JSON holds the value."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
