"""The batches that rows train in."""

from __future__ import annotations

import random

from distill.train.batches import epoch_batches, micro_batches
from distill.train.encode import EncodedExample


def rows_of(count: int) -> list[EncodedExample]:
    """Rows of very different lengths."""
    draw = random.Random(3)
    return [EncodedExample(f"row {i}", tuple(range(draw.randint(5, 120))), (1, 2)) for i in range(count)]


def test_an_epoch_has_every_row_once_and_depends_on_seed_and_epoch_alone() -> None:
    rows = rows_of(150)
    first = epoch_batches(rows, 16, 0, 0)
    assert sorted(row.location for batch in first for row in batch) == sorted(row.location for row in rows)
    assert all(len(batch) <= 16 for batch in first) and len(first) == 10
    assert first == epoch_batches(rows, 16, 0, 0)
    assert first != epoch_batches(rows, 16, 0, 1) and first != epoch_batches(rows, 16, 1, 0)


def test_bucketing_leaves_little_padding() -> None:
    rows = rows_of(512)
    real = sum(row.length for row in rows)
    bucketed = sum(padded(batch) for batch in epoch_batches(rows, 16, 0, 0))
    plain = sum(padded(rows[at : at + 16]) for at in range(0, len(rows), 16))
    assert bucketed / real < 1.08 and plain / real > 1.5


def test_micro_batches_keep_to_the_budget_and_lose_nothing() -> None:
    rows = rows_of(64)
    groups = micro_batches(rows, 300)
    assert sorted(row.location for group in groups for row in group) == sorted(row.location for row in rows)
    assert all(padded(group) <= 300 for group in groups)
    assert [len(group) for group in micro_batches(rows, 1)] == [1] * 64


def padded(batch: list[EncodedExample]) -> int:
    return len(batch) * max(row.length for row in batch)
