"""Rows become checked examples in three disjoint splits, before any call is paid.

Every refusal names the row, by file and line where it came from a file, and the way out.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.errors import ReplyError, UserError
from optimizer.fields import Field
from optimizer.files import canonical, digest
from optimizer.recipe import SPLITS, Recipe, Row, SplitName
from optimizer.spelled import plural


@dataclass(frozen=True)
class Example:
    """One row: inputs, outputs (empty when unlabelled), and the whole row for the metric.

    group: what it shares with rows that are not independent of it, the recipe's group field or else its inputs.
    """

    id: str
    where: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    row: Mapping[str, Any]
    group: str

    @property
    def group_id(self) -> str:
        """The group in short, for files."""
        return digest(self.group)[:16]


@dataclass(frozen=True)
class Splits:
    """Disjoint rows: train to learn from, dev to choose by, test to report on. Unlabelled rows stand apart."""

    train: list[Example]
    dev: list[Example]
    test: list[Example]
    unlabelled: list[Example]
    duplicates: int

    def digests(self) -> dict[str, str]:
        """sha256 of the rows of each split, in order."""
        return {name: digest([dict(example.row) for example in getattr(self, name)]) for name in SPLITS}


def split_examples(recipe: Recipe, inputs: Sequence[Field], outputs: Sequence[Field], seed: int) -> Splits:
    """Check every row and deal it to its split. Raises `UserError`."""
    examples = [check_row(row, n, recipe, inputs, outputs) for n, row in enumerate(recipe.examples, 1)]
    if len(examples) < 2:
        raise UserError(
            f"The recipe has {plural(len(examples), 'row')}.",
            "Train, dev and test each need rows of their own.",
            "Give it some 50 labelled rows or more.",
        )
    unique = list({canonical([ex.inputs, ex.outputs, ex.row.get("split")]): ex for ex in reversed(examples)}.values())[
        ::-1
    ]
    labelled = [example for example in unique if example.outputs]
    unlabelled = [example for example in unique if not example.outputs]
    dealt = deal_named(labelled) if any("split" in ex.row for ex in labelled) else deal(labelled, recipe, seed)
    for name in SPLITS:
        random.Random(f"{seed}-{name}").shuffle(dealt[name])
    splits = Splits(**dealt, unlabelled=unlabelled, duplicates=len(examples) - len(unique))
    refuse_overlap(splits)
    refuse_empty(splits)
    return splits


def check_row(
    row: Mapping[str, Any], number: int, recipe: Recipe, inputs: Sequence[Field], outputs: Sequence[Field]
) -> Example:
    """One row as an example, its fields present and of their types."""
    where = row.where if isinstance(row, Row) else f"row {number}"
    absent = [field.name for field in inputs if field.name not in row]
    given = [field for field in outputs if row.get(field.name) is not None or field.name in row]
    if given and len(given) < len(outputs):
        absent += [field.name for field in outputs if field not in given]
    if absent:
        raise UserError(
            f"{where}: no field {', '.join(absent)}.",
            f"The row has {', '.join(row) or 'no field at all'}.",
            "Add it to the row, or rename the signature's field.",
        )
    refuse_broken_text(row, where)
    for field in inputs:
        if field.is_text and not isinstance(row[field.name], str):
            raise UserError(
                f"{where}: {field.name} is {type(row[field.name]).__name__}, not a string.",
                "",
                f"Write it as a string, or annotate {field.name} with its type in the signature.",
            )
    size = len(canonical({field.name: row[field.name] for field in inputs}).encode())
    if size > recipe.max_row_bytes:
        raise UserError(
            f"{where}: its inputs take {size:,} bytes, more than {recipe.max_row_bytes:,}.",
            "Such a row would overflow the model's context.",
            "Shorten it, or raise Recipe(max_row_bytes=…).",
        )
    values = {field.name: gold(field, row[field.name], where) for field in given}
    asked = {field.name: row[field.name] for field in inputs}
    group = canonical(row.get(recipe.group) if recipe.group else asked)
    return Example(digest([asked, values])[:16], where, asked, values, row, group)


def refuse_broken_text(row: Mapping[str, Any], where: str) -> None:
    """A lone surrogate, as JSON may hold it, is half a character: no file and no request can carry it."""
    try:
        json.dumps(dict(row), ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start : error.end]
        raise UserError(
            f"{where}: its text is broken.", f"{half!r} is half a character (a lone surrogate).", "Write the row anew."
        ) from error


def gold(field: Field, value: Any, where: str) -> Any:
    """A gold output of its type; where several answers are accepted the first is the one shown in demos."""
    if isinstance(value, list) and field.type.get("type") != "array" and value:
        value = value[0]
    if field.is_text and not isinstance(value, str):
        raise UserError(f"{where}: {field.name} is {type(value).__name__}, not a string.", "", "Write it as a string.")
    try:
        return value if field.is_text else field.accept(value)
    except ReplyError as error:
        raise UserError(f"{where}: {error}.", "", "Mend the row, or the signature's type.") from error


def deal_named(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """By the rows' own `split`, which all of them must then have."""
    dealt: dict[str, list[Example]] = {name: [] for name in SPLITS}
    for example in examples:
        name = example.row.get("split")
        if name not in SPLITS:
            raise UserError(
                f"{example.where}: split is {name!r}.",
                "Some rows name a split, so every labelled row must.",
                f"Write one of {', '.join(SPLITS)}, or remove split from all rows.",
            )
        dealt[name].append(example)
    return dealt


def deal(examples: Sequence[Example], recipe: Recipe, seed: int) -> dict[str, list[Example]]:
    """A seeded deal by whole groups: rows that share their inputs, or the recipe's group field, stay together."""
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.group, []).append(example)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    wanted = targets(len(examples), recipe.split)
    dealt: dict[str, list[Example]] = {name: [] for name in SPLITS}
    for key in order:
        shortfalls = {name: wanted[name] - len(dealt[name]) for name in SPLITS}
        name = max(SPLITS, key=lambda split: shortfalls[split] / max(wanted[split], 1))
        if shortfalls[name] > 0:
            dealt[name] += groups[key]
    return dealt


def targets(total: int, split: tuple[float, float, float]) -> dict[SplitName, int]:
    """How many rows each split should have."""
    if any(size < 0 for size in split) or sum(split) == 0:
        raise UserError(
            f"Recipe(split={split}) is no division of rows.", "", "Write fractions, such as (0.5, 0.2, 0.3)."
        )
    if all(size <= 1 for size in split):
        return {name: math.ceil(total * size / sum(split)) for name, size in zip(SPLITS, split, strict=True)}
    if sum(split) > total:
        raise UserError(
            f"Recipe(split={split}) asks for {sum(split):.0f} rows of {total}.", "", "Ask for fewer, or give fractions."
        )
    return {name: round(size) for name, size in zip(SPLITS, split, strict=True)}


def refuse_overlap(splits: Splits) -> None:
    """No inputs may stand in two splits."""
    seen: dict[str, tuple[str, str]] = {}
    for name in SPLITS:
        for example in getattr(splits, name):
            other, where = seen.setdefault(canonical(example.inputs), (name, example.where))
            if other != name:
                raise UserError(
                    f"{example.where} ({name}) and {where} ({other}) have the same inputs.",
                    "A score on rows that the search has seen is no score.",
                    "Remove one of them.",
                )


def refuse_empty(splits: Splits) -> None:
    """Each split needs rows."""
    for name in SPLITS:
        if not getattr(splits, name):
            sizes = ", ".join(f"{split} {len(getattr(splits, split))}" for split in SPLITS)
            repeated = f", and {plural(splits.duplicates, 'duplicate')} left out" if splits.duplicates else ""
            raise UserError(
                f"There are no {name} rows.",
                f"The labelled rows fall into {sizes}{repeated}.",
                f'Mark some with "split": "{name}", or give more rows.',
            )


def described(splits: Splits, recipe: Recipe) -> Iterable[str]:
    """What the data holds, a line each."""
    yield f"train {len(splits.train)}, dev {len(splits.dev)}, test {len(splits.test)} rows"
    if splits.duplicates:
        yield f"{plural(splits.duplicates, 'duplicate row')} left out"
    if splits.unlabelled:
        yield f"{plural(len(splits.unlabelled), 'unlabelled row')}, for distillation"
    if recipe.split != Recipe.split and "split" in splits.test[0].row:
        yield f"Recipe(split={recipe.split}) is not used: the rows name their own split"
