"""Few rows are dealt into folds: each fold is test once, for a prompt that was searched on the rows outside of it.

So no label is used for test alone. A search without a fold has all other rows both to learn from and to choose by, each
left out of what is learned where it is scored.
"""

from __future__ import annotations

import random
from dataclasses import replace

from promptstill.errors import UserError
from promptstill.task.examples import Example
from promptstill.task.leakage import leave_out_leaks
from promptstill.task.recipe import Recipe
from promptstill.task.splits import Splits, deal_folds

FEW_ROWS = 150  # labelled rows below which a run is cross-validated
FOLDS = 5


def count_folds(asked: int | None, splits: Splits, recipe: Recipe, *, program: bool) -> int:
    """The number of folds, 0 for none. asked: what the user wants; None leaves it to the rows. Raises `UserError`."""
    rows = splits.labelled
    named = any("split" in row.row for row in rows)
    if asked is None:
        dealt_by_hand = named or program or recipe.split != Recipe.split
        return 0 if dealt_by_hand or len(rows) >= FEW_ROWS else min(FOLDS, len({row.group for row in rows}))
    if asked and (named or program):
        why = "The recipe's rows name their split." if named else "The recipe is of a program."
        way = "Leave it out, or the rows' split." if named else "Leave it out."
        raise UserError(f"--folds {asked} cannot be.", why, way)
    return asked


def to_folds(splits: Splits, count: int, *, drop_leaks: bool = False) -> Splits:
    """All labelled rows of the splits in `count` folds, dealt by the splits' seed. Raises `UserError` below two."""
    if count < 2:
        raise UserError(f"--folds {count} is no cross-validation.", "", "Write 2 or more, or 0 for none.")
    seed = splits.seed
    rows = sorted(splits.labelled, key=lambda row: row.id)
    folds = deal_folds(rows, count, seed)
    parts = tuple(fold_splits(rows, fold, number, seed, drop_leaks=drop_leaks) for number, fold in enumerate(folds))
    shuffled = shuffle(rows, f"{seed}-rows")
    return replace(splits, train=shuffled, dev=shuffled, test=shuffled, shared=True, folds=parts)


def fold_splits(rows: list[Example], fold: list[Example], number: int, seed: int, *, drop_leaks: bool) -> Splits:
    """The splits of one fold: its rows are test, the others both train and dev."""
    inside = {id(row) for row in fold}
    others = shuffle([row for row in rows if id(row) not in inside], f"{seed}-{number}")
    splits = Splits(others, [], fold, [], 0)
    if drop_leaks:
        splits = leave_out_leaks(splits)
    return replace(splits, dev=splits.train, whole_train=None, shared=True)


def shuffle(rows: list[Example], seed: str) -> list[Example]:
    """The rows in a random order."""
    return random.Random(seed).sample(rows, len(rows))
