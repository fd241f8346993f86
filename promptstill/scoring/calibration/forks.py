"""The places in a reply where labels part: at most of them it is the first token that decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from promptstill.endpoint.tokenize import Tokens
from promptstill.scoring.calibration import NoCalibration
from promptstill.text import plural

MOST_FORKS = 8  # of a prompt, each asked for by calls of its own
MOST_BEFORE = 48  # tokens of a reply before the label


@dataclass(frozen=True)
class Branch:
    """A token after which the reply can be only one of these labels, by their places."""

    token: int
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Fork:
    """A place where labels part: after the tokens of `path`, by the token of each branch.

    contested: whether a label that is not of these branches, by its own tokens, can be spelled on from here too: `b`
    begins "billing", and also "bug", which is one token.
    """

    path: tuple[int, ...]
    branches: tuple[Branch, ...]
    contested: bool = False

    @property
    def parts(self) -> bool:
        """Whether there is anything to tell apart; a fork of one branch only keeps the reply on it."""
        return len(self.branches) > 1

    @property
    def labels(self) -> tuple[int, ...]:
        return tuple(label for branch in self.branches for label in branch.labels)


def find_forks(labels: Sequence[Tokens], *, alone: bool, most: int = MOST_FORKS) -> list[Fork]:
    """The forks of labels that are written by these tokens, the first one first.

    alone: whether the label is the whole reply, so that a bias can keep it on the tokens of its label. most: the places
    where they may part. Raises `NoCalibration` where they part at more, and where one static bias for each token cannot
    tell the labels apart.
    """
    texts = ["".join(label.strings) for label in labels]
    if any(one != other and other.startswith(one) for one in texts for other in texts):
        raise NoCalibration("one label begins another")
    if len({label.ids for label in labels}) < len(labels):
        raise NoCalibration("two labels are the same tokens")
    forks = list(walk(labels, texts, range(len(labels)), 0))
    if not alone and any(fork.contested for fork in forks):
        raise NoCalibration("the first token of one label also begins another")
    if sum(fork.parts for fork in forks) > most:
        raise NoCalibration(f"the labels part at more than {plural(most, 'place')}")
    if len(forks[0].path) > MOST_BEFORE:
        raise NoCalibration(f"more than {MOST_BEFORE} tokens stand before the label")
    refuse_shared_tokens(forks)
    return forks


def walk(labels: Sequence[Tokens], texts: Sequence[str], places: Sequence[int], depth: int) -> Iterator[Fork]:
    """The forks of the labels at `places`, which share their first `depth` tokens."""
    first = labels[places[0]]
    begun = "".join(first.strings[:depth])
    contested = any(text.startswith(begun) for place, text in enumerate(texts) if place not in places)
    if depth == len(first.ids) or (len(places) == 1 and not contested):
        return
    branches = branches_of(labels, places, depth)
    if len(branches) > 1 or contested:
        yield Fork(first.ids[:depth], branches, contested)
    for branch in branches:
        yield from walk(labels, texts, branch.labels, depth + 1)


def branches_of(labels: Sequence[Tokens], places: Sequence[int], depth: int) -> tuple[Branch, ...]:
    """The labels at `places` by their token at this depth."""
    found: dict[int, tuple[int, ...]] = {}
    for place in places:
        token = labels[place].ids[depth]
        found[token] = (*found.get(token, ()), place)
    return tuple(Branch(token, those) for token, those in found.items())


def refuse_shared_tokens(forks: Sequence[Fork]) -> None:
    """Raise `NoCalibration` where two forks need a bias of their own for one token."""
    seen: set[int] = set()
    for fork in sorted(forks, key=lambda fork: not fork.parts):
        tokens = {branch.token for branch in fork.branches}
        if tokens & seen:
            raise NoCalibration("one token tells labels apart at two places")
        seen |= tokens if fork.parts else set()
