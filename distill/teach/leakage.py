"""Rows that would teach the student what it is tested on: a leak stops the distillation, or is left out of training."""

from __future__ import annotations

from collections.abc import Sequence

from promptstill.errors import UserError
from promptstill.task.examples import Example
from promptstill.task.leakage import Leak, describe_worst, find_leaks
from promptstill.task.splits import Splits


def drop_leaks(rows: Sequence[Example], splits: Splits, *, drop: bool) -> tuple[list[Example], int]:
    """The rows (train and unlabelled) without the leaks, and the number of leaks. Raises `UserError` unless `drop`."""
    leaks = find_leaks(rows, [*splits.dev, *splits.test])
    if leaks and not drop:
        raise leak_error(leaks, rows, splits)
    leaking = {id(leak.row) for leak in leaks}
    return [row for row in rows if id(row) not in leaking], len(leaks)


def leak_error(leaks: Sequence[Leak], rows: Sequence[Example], splits: Splits) -> UserError:
    """Names the most similar pair and the number of leaks."""
    return UserError(
        f"{describe_worst(leaks, splits)}.",
        f"Scores on rows that the student was trained on mean nothing. Of {len(rows):,} rows, {len(leaks):,} leak.",
        "Remove them, or leave them out of training with --drop-leaks.",
    )
