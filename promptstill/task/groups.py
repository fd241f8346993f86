"""The recipe's `group`, held against the rows: a field that cannot keep rows together is refused before any call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptstill.errors import UserError
from promptstill.task.examples import Example
from promptstill.task.load import did_you_mean
from promptstill.task.recipe import SPLITS, Recipe


def refuse_useless_group(examples: Sequence[Example], recipe: Recipe) -> None:
    """Refuse a group field that no row has, and one that is the same in all rows. Raises `UserError`."""
    group = recipe.group
    if group is None or len(examples) < 2:
        return
    if not any(group in example.row for example in examples):
        raise UserError(
            f"Recipe(group={group!r}): no row has the field {group}.",
            did_you_mean(group, examples[0].row),
            "Name a field of the rows, or leave group out.",
        )
    if len({example.group for example in examples}) == 1:
        raise UserError(
            f"Recipe(group={group!r}): {group} is the same in all {len(examples)} rows.",
            "Rows of one group stay in one split, and train, dev and test each need rows.",
            "Name a field that divides the rows, or leave group out.",
        )


def refuse_torn_groups(parts: Mapping[str, Sequence[Example]], recipe: Recipe) -> None:
    """Refuse named splits of which two hold rows of one group. Raises `UserError`."""
    if recipe.group is None:
        return
    first: dict[str, tuple[str, str]] = {}
    for name in SPLITS:
        for example in parts[name]:
            other, location = first.setdefault(example.group, (name, example.location))
            if other != name:
                raise UserError(
                    f"{example.location} ({name}) and {location} ({other}) have the same {recipe.group}.",
                    f'Recipe(group="{recipe.group}") says that such rows belong together, in one split.',
                    "Move one of them to the other's split, or leave group out.",
                )
