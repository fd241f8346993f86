"""The train, dev and test splits: disjoint, none of them empty, and made before any call."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from promptstill.errors import UserError
from promptstill.files import canonical_json, digest
from promptstill.prompt.fields import Field
from promptstill.task.examples import Example, to_example
from promptstill.task.groups import refuse_torn_groups, refuse_useless_group
from promptstill.task.recipe import SPLITS, Recipe, SplitName
from promptstill.task.records import to_rows
from promptstill.task.splits.deal import deal
from promptstill.text import plural

MIN_LABELLED = 12  # rows that can be dealt


@dataclass(frozen=True)
class Splits:
    """Disjoint rows: train to learn from, dev to choose by, test to report on. Unlabelled rows are in none of them.

    duplicates: the number of rows that were left out because another equals them. whole_train: train with the rows that
    --drop-leaks left out of it, else None. seed: of the random deal. shared: whether dev's rows are train's, so that a
    row is to be left out of what is learned from train where it is scored. folds: the splits of each fold of a
    cross-validation, whose test is the fold and whose train and dev are the rows outside it; train, dev and test then
    all are all rows.
    """

    train: list[Example]
    dev: list[Example]
    test: list[Example]
    unlabelled: list[Example]
    duplicates: int
    whole_train: list[Example] | None = None
    seed: int = 0
    shared: bool = False
    folds: tuple[Splits, ...] = ()

    @property
    def labelled(self) -> list[Example]:
        """Every row of train, dev and test, once."""
        return list(self.test if self.folds else [*self.train, *self.dev, *self.test])

    def digests(self) -> dict[str, str]:
        """sha256 of the rows of each split as the recipe has them, in their order."""
        parts = {"train": self.whole_train or self.train, "dev": self.dev, "test": self.test}
        return {name: digest([dict(example.row) for example in parts[name]]) for name in SPLITS}


def split_examples(recipe: Recipe, inputs: Sequence[Field], outputs: Sequence[Field], seed: int) -> Splits:
    """Check every row and put it into its split. Raises `UserError`."""
    examples = [to_example(row, n, recipe, inputs, outputs) for n, row in enumerate(to_rows(recipe.examples), 1)]
    refuse_unlabelled(examples, outputs)
    return split_rows(examples, recipe, seed)


def split_rows(examples: Sequence[Example], recipe: Recipe, seed: int) -> Splits:
    """Put checked rows into their splits. Raises `UserError`."""
    if len(examples) < 2:
        raise UserError(
            f"The recipe has {plural(len(examples), 'row')}.",
            "Train, dev and test each need rows of their own.",
            "Give it some 50 labelled rows or more.",
        )
    refuse_useless_group(examples, recipe)
    by_content = {canonical_json([ex.inputs, ex.outputs, ex.row.get("split")]): ex for ex in reversed(examples)}
    unique = list(by_content.values())[::-1]
    labelled = [example for example in unique if example.outputs]
    unlabelled = [example for example in unique if not example.outputs]
    named = any("split" in example.row for example in labelled)
    if not named:
        refuse_few_labelled(len(labelled), len(examples) - len(unique))
    parts = split_by_name(labelled) if named else split_at_random(labelled, recipe, seed)
    refuse_torn_groups(parts, recipe)
    for name in SPLITS:
        random.Random(f"{seed}-{name}").shuffle(parts[name])
    rows = (parts["train"], parts["dev"], parts["test"], unlabelled)
    splits = Splits(*rows, duplicates=len(examples) - len(unique), seed=seed)
    refuse_overlap(splits)
    refuse_empty(splits)
    return splits


def refuse_unlabelled(examples: Sequence[Example], outputs: Sequence[Field]) -> None:
    """Refuse rows of which none has an output. Raises `UserError`."""
    if len(examples) > 1 and not any(example.outputs for example in examples):
        raise UserError(
            f"No row has the output {', '.join(field.name for field in outputs)}.",
            f"The first row, {examples[0].location}, has {', '.join(examples[0].row)}.",
            "Add it to the rows, or rename the signature's field.",
        )


def split_by_name(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """By the rows' own field `split`, which all of them must then have."""
    parts: dict[str, list[Example]] = {name: [] for name in SPLITS}
    for example in examples:
        name = example.row.get("split")
        if name not in SPLITS:
            raise UserError(
                f"{example.location}: split is {name!r}.",
                "Some rows name a split, so every labelled row must.",
                f"Write one of {', '.join(SPLITS)}, or remove split from all rows.",
            )
        parts[name].append(example)
    return parts


def split_at_random(examples: Sequence[Example], recipe: Recipe, seed: int) -> dict[str, list[Example]]:
    """By the recipe's sizes and at random, whole groups at a time and evenly over labels. Raises `UserError`."""
    sizes = split_sizes(len(examples), recipe.split)
    refuse_few_groups(examples, recipe)
    return dict(zip(sizes, deal(examples, list(sizes.values()), seed), strict=True))


def refuse_few_labelled(count: int, duplicates: int) -> None:
    """Refuse to deal fewer than `MIN_LABELLED` rows. Raises `UserError`."""
    if count < MIN_LABELLED:
        left_out = f", and {plural(duplicates, 'duplicate')} left out" if duplicates else ""
        raise UserError(
            f"There are {plural(count, 'labelled row')}{left_out}.",
            f"Fewer than {MIN_LABELLED} cannot choose a prompt and measure it on others.",
            'Label more rows, or mark each with a split of its own: "split": "train", "dev" or "test".',
        )


def refuse_few_groups(examples: Sequence[Example], recipe: Recipe) -> None:
    """Refuse rows of fewer groups than splits. Raises `UserError`."""
    groups = len({example.group for example in examples})
    if groups < len(SPLITS):
        field = f"Recipe(group={recipe.group!r})" if recipe.group else "Equal inputs"
        raise UserError(
            f"All {len(examples)} labelled rows are of {plural(groups, 'group')}.",
            f"{field} keeps rows together, and train, dev and test each need a group of their own.",
            "Give rows of further groups"
            + (", or name a field that tells more of them apart." if recipe.group else "."),
        )


def split_sizes(total: int, split: tuple[float, float, float]) -> dict[SplitName, int]:
    """The number of rows that each split should have. Raises `UserError`."""
    if any(size < 0 for size in split) or sum(split) == 0:
        raise UserError(
            f"Recipe(split={split}) does not divide the rows.", "", "Write fractions, such as (0.5, 0.2, 0.3)."
        )
    if all(size <= 1 for size in split):
        return {name: math.ceil(total * size / sum(split)) for name, size in zip(SPLITS, split, strict=True)}
    if sum(split) > total:
        raise UserError(
            f"Recipe(split={split}) asks for {sum(split):.0f} rows of {total}.", "", "Ask for fewer, or give fractions."
        )
    return {name: round(size) for name, size in zip(SPLITS, split, strict=True)}


def refuse_overlap(splits: Splits) -> None:
    """Refuse inputs that are in two splits. Raises `UserError`."""
    first: dict[str, tuple[str, str]] = {}
    for name in SPLITS:
        for example in getattr(splits, name):
            other, location = first.setdefault(canonical_json(example.inputs), (name, example.location))
            if other != name:
                raise UserError(
                    f"{example.location} ({name}) and {location} ({other}) have the same inputs.",
                    "Scores on rows that the search has seen mean nothing.",
                    "Remove one of them.",
                )


def refuse_empty(splits: Splits) -> None:
    """Refuse a split without rows. Raises `UserError`."""
    for name in SPLITS:
        if not getattr(splits, name):
            sizes = ", ".join(f"{split} {len(getattr(splits, split))}" for split in SPLITS)
            duplicates = f", and {plural(splits.duplicates, 'duplicate')} left out" if splits.duplicates else ""
            raise UserError(
                f"There are no {name} rows.",
                f"The labelled rows fall into {sizes}{duplicates}.",
                f'Mark some with "split": "{name}", or give more rows.',
            )


def describe_splits(splits: Splits, recipe: Recipe) -> Iterable[str]:
    """The sizes of the splits and what was left out, a line each."""
    if splits.folds:
        sizes = sorted({len(fold.test) for fold in splits.folds})
        each = " to ".join(map(str, sizes[:1] + sizes[1:][-1:]))
        yield f"{len(splits.test)} labelled rows in {len(splits.folds)} folds of {each}: each is test once, unseen"
    else:
        yield f"train {len(splits.train)}, dev {len(splits.dev)}, test {len(splits.test)} rows"
    if splits.duplicates:
        yield f"{plural(splits.duplicates, 'duplicate row')} left out"
    if splits.whole_train and (leaks := len(splits.whole_train) - len(splits.train)):
        yield f"{plural(leaks, 'train row')} left out by --drop-leaks: nearly equal to a dev or test row"
    if splits.unlabelled:
        yield f"{plural(len(splits.unlabelled), 'unlabelled row')}, for distillation"
    if recipe.split != Recipe.split and "split" in splits.test[0].row:
        yield f"Recipe(split={recipe.split}) is not used: the rows name their own split"
