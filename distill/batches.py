"""Which rows train together. Rows of similar length share a batch, so that little of the work is padding.

Each epoch is a pure function of the seed: a resumed training meets the same batches.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from distill.encode import Encoded

POOL_BATCHES = 16  # batches that are sorted by length together: padding falls to a few percent, order stays mixed


def epoch_batches(rows: Sequence[Encoded], size: int, seed: int, epoch: int) -> list[list[Encoded]]:
    """The epoch's batches of `size` rows, the last of them perhaps smaller; every row once."""
    order = random.Random(f"{seed}/{epoch}")
    shuffled = list(rows)
    order.shuffle(shuffled)
    pools = [shuffled[at : at + size * POOL_BATCHES] for at in range(0, len(shuffled), size * POOL_BATCHES)]
    batches = [batch for pool in pools for batch in chunks(sorted(pool, key=lambda row: row.length), size)]
    order.shuffle(batches)
    return batches


def chunks(rows: Sequence[Encoded], size: int) -> Iterator[list[Encoded]]:
    for at in range(0, len(rows), size):
        yield list(rows[at : at + size])


def micro_batches(rows: Sequence[Encoded], budget: int) -> list[list[Encoded]]:
    """`rows` in groups of at most `budget` tokens, padding included; a longer row stands alone."""
    groups: list[list[Encoded]] = []
    for row in sorted(rows, key=lambda row: row.length):  # so the newest row is always the longest of its group
        if groups and (len(groups[-1]) + 1) * row.length <= budget:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups
