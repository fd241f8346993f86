"""Which rows train together. Rows of similar length share a batch, so that little of the work is padding.

The batches of an epoch depend on the rows, the seed and the epoch alone: a resumed training gets the same ones.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from distill.train.encode import EncodedExample

POOL_BATCHES = 16  # batches that are sorted by length together: padding falls to a few percent, order stays mixed


def epoch_batches(rows: Sequence[EncodedExample], size: int, seed: int, epoch: int) -> list[list[EncodedExample]]:
    """The epoch's batches of `size` rows, every row once. The last batch may be smaller."""
    order = random.Random(f"{seed}/{epoch}")
    shuffled = list(rows)
    order.shuffle(shuffled)
    pools = [shuffled[at : at + size * POOL_BATCHES] for at in range(0, len(shuffled), size * POOL_BATCHES)]
    batches = [batch for pool in pools for batch in chunks(sorted(pool, key=lambda row: row.length), size)]
    order.shuffle(batches)
    return batches


def chunks(rows: Sequence[EncodedExample], size: int) -> Iterator[list[EncodedExample]]:
    for at in range(0, len(rows), size):
        yield list(rows[at : at + size])


def micro_batches(rows: Sequence[EncodedExample], max_tokens: int) -> list[list[EncodedExample]]:
    """`rows` in groups of at most `max_tokens` tokens, padding included. A longer row is a group of its own."""
    groups: list[list[EncodedExample]] = []
    for row in sorted(rows, key=lambda row: row.length):  # so the newest row is always the longest of its group
        if groups and (len(groups[-1]) + 1) * row.length <= max_tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups
