"""Rows in groups of unequal size: how large the groups are, and scores and differences that a group shares in part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

PASSAGE = 4  # rows of a group, where all groups are of one size
SHARED = 0.5  # the correlation within a group of what makes a row hard
LAYOUTS = 20  # sets of group sizes in a case: the draws are dealt out over them
Sizes = Callable[[int, np.random.Generator], np.ndarray]
Band = tuple[float, float]


@dataclass(frozen=True)
class GroupedCase:
    """How n rows are grouped, and what is drawn: accuracies in a band, or two prompts that differ on a share in one.

    gains: None for accuracies; else whether there is a gain.
    """

    sizes: Sizes
    band: Band
    gains: bool | None = None

    def draw(self, sims: int, sizes: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Scores or differences for groups of these sizes, (sims, rows), and the truth of each simulation."""
        hard, level = hardness(sims, sizes, rng), rng.uniform(*self.band, sims)
        if self.gains is None:
            return (hard < ndtri(level)[:, None]).astype(float), level
        truth = level * rng.uniform(0, 1, sims) if self.gains else np.zeros(sims)
        won, lost = (level + truth) / 2, (level - truth) / 2
        return (hard < ndtri(won)[:, None]).astype(float) - (hard > ndtri(1 - lost)[:, None]), truth


def hardness(sims: int, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Standard normal by row, with the correlation `SHARED` within a group. Returns (sims, rows)."""
    shared = rng.normal(size=(sims, len(sizes))).repeat(sizes, axis=1)
    own = rng.normal(size=(sims, int(sizes.sum())))
    return np.asarray(np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * own)


def names(sizes: np.ndarray) -> list[str]:
    """The group of each row."""
    return [str(number) for number in np.repeat(np.arange(len(sizes)), sizes)]


def passages(n: int, rng: np.random.Generator) -> np.ndarray:
    """Groups of `PASSAGE` rows; the last may be smaller."""
    return fill(np.full(n, PASSAGE), n)


def zipf(n: int, rng: np.random.Generator) -> np.ndarray:
    """Zipf's law: the second group has half of the rows of the first, the third a third; a group for eight rows."""
    shares = 1 / np.arange(1, max(n // 8, 4) + 1)
    return fill(np.ceil(shares / shares.sum() * n).astype(int), n)


def one_giant(n: int, rng: np.random.Generator) -> np.ndarray:
    """Half of the rows in one group, the others in groups of `PASSAGE`."""
    return fill(np.concatenate([[n // 2], np.full(n, PASSAGE)]), n)


def two_to_200(n: int, rng: np.random.Generator) -> np.ndarray:
    """Groups of 2 to 200 rows, each order of size as likely as another."""
    return fill(np.exp(rng.uniform(np.log(2), np.log(201), n)).astype(int), n)


def fill(sizes: np.ndarray, n: int) -> np.ndarray:
    """The first of these groups, until they have n rows."""
    ends = np.minimum(np.cumsum(sizes), n)
    found = np.diff(ends, prepend=0)
    return np.asarray(found[found > 0])


SHAPES: Mapping[str, Sizes] = {
    f"{PASSAGE} rows a passage": passages,
    "Zipf-sized groups": zipf,
    "one giant group": one_giant,
    "groups of 2 to 200": two_to_200,
}
GROUPED_SCORES: Mapping[str, GroupedCase] = {
    f"{shape}, accuracy 10 to 90 %": GroupedCase(sizes, (0.1, 0.9)) for shape, sizes in SHAPES.items()
}
GROUPED_GAINS: Mapping[str, GroupedCase] = {
    f"{shape}, 10 to 50 % differ, {'a' if gains else 'no'} gain": GroupedCase(sizes, (0.1, 0.5), gains)
    for gains in (False, True)
    for shape, sizes in SHAPES.items()
}
