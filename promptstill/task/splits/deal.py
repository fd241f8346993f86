"""Deals rows at random into parts of given sizes: whole groups at a time, and evenly over labels.

Groups come in a random order, label by label. Each goes to the part that is furthest behind its share of the rows dealt
so far: of those with the group's labels, and of all. So every part has its size, and each label is in every part about
in proportion. Which row of a label goes where is chance, and so is where a label with few rows goes: no part is kept
from rare labels.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from promptstill.errors import UserError
from promptstill.files import canonical_json
from promptstill.task.examples import Example
from promptstill.text import plural

MAX_LABELS = 100  # more distinct outputs than this are no labels
ALL = "all"  # what every row counts as, besides its label, which is JSON and so never this word


@dataclass(frozen=True)
class Group:
    """Rows that stay together. counts: its rows by label, and all of them."""

    rows: Sequence[Example]
    counts: Counter[str]

    @property
    def label(self) -> str:
        """The commonest label."""
        return max(self.counts, key=lambda label: (label != ALL, self.counts[label], label))


@dataclass(frozen=True)
class Part:
    """What one part has so far. share: of all rows, from 0 to 1."""

    size: int
    share: float
    rows: list[Example] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def take(self, group: Group) -> None:
        self.rows.extend(group.rows)
        self.counts.update(group.counts)

    def deficit(self, group: Group, dealt: Counter[str]) -> float:
        """How many rows of the group's labels, and of all, the part is behind its share of those dealt, the group's own
        included."""
        return sum(n * (dealt[label] * self.share - self.counts[label]) for label, n in group.counts.items())


def deal(examples: Sequence[Example], sizes: Sequence[int], seed: int) -> list[list[Example]]:
    """As many parts as there are sizes. Sizes that add up to fewer rows than there are leave the others out.

    A part of a size above 0 is empty only where there are fewer groups than parts. Groups of several rows can make a
    part larger than its size.
    """
    wanted = [*sizes, max(len(examples) - sum(sizes), 0)]
    parts = [Part(size, size / max(sum(wanted), 1)) for size in wanted]
    dealt: Counter[str] = Counter()
    groups = shuffle_groups(examples, seed)
    for number, group in enumerate(groups):
        dealt.update(group.counts)
        empty = [part for part in parts[:-1] if part.size and not part.rows]
        behind = empty if len(groups) - number <= len(empty) else [part for part in parts if len(part.rows) < part.size]
        max(behind, key=lambda part: part.deficit(group, dealt)).take(group)
    return [part.rows for part in parts[:-1]]


def deal_folds(examples: Sequence[Example], count: int, seed: int) -> list[list[Example]]:
    """`count` folds of equal size, each in a random order; within one row where groups allow it. Raises `UserError`."""
    groups = len({example.group for example in examples})
    if not 2 <= count <= groups:
        raise UserError(
            f"{plural(groups, 'group')} of rows cannot make {plural(count, 'fold')}.",
            "Each fold needs a group of its own: rows of one group stay together.",
            f"Ask for 2 to {groups} folds." if groups > 1 else "Give rows of further groups.",
        )
    few, larger = divmod(len(examples), count)
    folds = deal(examples, [few + (number < larger) for number in range(count)], seed)
    for number, fold in enumerate(folds):
        random.Random(f"{seed}-fold-{number}").shuffle(fold)
    return folds


def shuffle_groups(examples: Sequence[Example], seed: int) -> list[Group]:
    """The groups in a random order, label by label. The order of the examples changes nothing in it."""
    chance, groups = random.Random(seed), sorted(to_groups(examples), key=lambda group: group.rows[0].group)
    order = sorted({group.label for group in groups})
    chance.shuffle(order)
    chance.shuffle(groups)
    place = {label: number for number, label in enumerate(order)}
    return sorted(groups, key=lambda group: place[group.label])


def to_groups(examples: Sequence[Example]) -> Iterator[Group]:
    """The groups, each with its rows by label."""
    found: dict[str, list[tuple[Example, str]]] = {}
    for example, label in zip(examples, row_labels(examples), strict=True):
        found.setdefault(example.group, []).append((example, label))
    for pairs in found.values():
        labels = Counter(label for _, label in pairs)
        yield Group([example for example, _ in pairs], labels + Counter({ALL: len(pairs)}))


def row_labels(examples: Sequence[Example]) -> list[str]:
    """Each row's label, as JSON: its value of the first output that has few values, which repeat. Without such an
    output all rows have the same label."""
    for name in examples[0].outputs if examples else ():
        values = [canonical_json(example.outputs.get(name)) for example in examples]
        if len(set(values)) <= min(MAX_LABELS, len(values) // 2):
            return values
    return ["null"] * len(examples)
