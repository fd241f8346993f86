"""How much the answers of several prompts to one row differ: from 0, where all say the same, to 1.

Labels and numbers are votes: their entropy (Dagan & Engelson 1995), as a share of that of answers that all differ. Of
free text it is one minus the mean F1 of shared words over all pairs of answers. Of several outputs the mean counts. A
reply that cannot be read says the same as another such reply, and as nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import log
from statistics import fmean
from typing import Any

from promptstill.prompt.fields import as_text
from promptstill.prompt.nearest import words
from promptstill.scoring.rivals.kinds import Kind

Answer = Mapping[str, Any] | None  # the outputs; None where the reply cannot be read


def disagreement(answers: Sequence[Answer], kinds: Mapping[str, Kind]) -> float:
    """How much two or more answers differ. kinds: of the outputs, by name."""
    columns = {name: [normalized(answer, name) for answer in answers] for name in kinds}
    return fmean(
        text_distance(columns[name]) if kind == "free" else vote_entropy(columns[name]) for name, kind in kinds.items()
    )


def normalized(answer: Answer, name: str) -> str | None:
    """An output as a text without the difference of case and white space."""
    return None if answer is None else " ".join(as_text(answer[name]).casefold().split())


def vote_entropy(votes: Sequence[str | None]) -> float:
    """The entropy of the votes, divided by the logarithm of their number, which is two or more."""
    shares = [count / len(votes) for count in Counter(votes).values()]
    return sum(share * log(1 / share) for share in shares) / log(len(votes))


def text_distance(texts: Sequence[str | None]) -> float:
    """One minus the mean F1 of shared words over all pairs."""
    return 1 - fmean(shared_words(left, right) for left, right in combinations(texts, 2))


def shared_words(left: str | None, right: str | None) -> float:
    """The F1 of the words that two texts share."""
    if left == right:
        return 1.0
    if left is None or right is None:
        return 0.0
    here, there = Counter(words(left)), Counter(words(right))
    return 2 * (here & there).total() / max((here + there).total(), 1)
