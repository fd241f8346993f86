"""The train rows from which instructions learn."""

from __future__ import annotations

import random
from collections.abc import Sequence

from promptstill.task.examples import Example


def reflection_rows(train: Sequence[Example], seed: int) -> list[Example]:
    """The half of train, by whole groups, from which instructions learn; a play-off takes its rows from the other."""
    groups = sorted({row.group for row in train})
    taught = set(random.Random(f"{seed}-reflection").sample(groups, -(-len(groups) // 2)))
    return [row for row in train if row.group in taught]
