"""Nearest demos: the rows of a pool that are most similar to an input, by BM25 over words and pairs of words.
What stands for words where a script writes no spaces is in promptstill/words.py.

No model and no chance is involved, so that search, training and serving pick the same demos. A row that nearly equals
the input is never picked: its label would give the answer away.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from promptstill.prompt.fields import as_text
from promptstill.words import find_words

if TYPE_CHECKING:  # it loads numba and SciPy, which take longer than everything else that a command loads at its start
    import bm25s

MOST_CHARACTERS = 20_000  # of a value that are compared; each 1,000 words take some 15 ms
DUPLICATE_SIMILARITY = 0.85  # two inputs whose sets of words are this similar (Jaccard) count as the same question


def words(text: str) -> list[str]:
    """Case-folded words."""
    return find_words(text.casefold())


def terms(text: str) -> list[str]:
    """Words, and pairs of neighbours, with `^` before the first: "how many" and "who is" tell questions apart."""
    single = words(text)
    return single + [f"{left}_{right}" for left, right in zip(["^", *single], single, strict=False)]


def near_duplicate(left: Sequence[str], right: Sequence[str]) -> bool:
    """Whether two word lists share at least 85 % of their distinct words (Jaccard)."""
    a, b = set(left), set(right)
    return len(a & b) >= DUPLICATE_SIMILARITY * len(a | b)


class NearestIndex:
    """BM25 (Robertson; Lucene's variant, by bm25s) over some fields of the pool's rows.

    fields: those compared. inputs: all inputs, by which a near duplicate is found.
    """

    def __init__(self, pool: Sequence[Mapping[str, Any]], fields: Sequence[str], inputs: Sequence[str]) -> None:
        self.pool, self.fields, self.inputs = pool, tuple(fields), tuple(inputs)

    @cached_property
    def bm25(self) -> bm25s.BM25:
        import bm25s

        index = bm25s.BM25()
        index.index([terms(self._text(row, self.fields)) or ["^"] for row in self.pool], show_progress=False)
        return index

    @cached_property
    def words(self) -> list[list[str]]:
        return [words(self._text(row, self.inputs)) for row in self.pool]

    def pick(self, inputs: Mapping[str, Any], k: int, left_out: Collection[int] = ()) -> list[Mapping[str, Any]]:
        """The `k` nearest rows of the pool, the nearest last (next to the question), or as many as there are.

        left_out: places in the pool that are not picked.
        """
        query = terms(self._text(inputs, self.fields)) or ["^"]
        scores = self.bm25.get_scores(query)
        input_words = words(self._text(inputs, self.inputs))
        picked: list[Mapping[str, Any]] = []
        for row in np.argsort(-scores, kind="stable"):
            if len(picked) == k:
                break
            if row not in left_out and not near_duplicate(input_words, self.words[row]):
                picked.append(self.pool[row])
        return picked[::-1]

    @staticmethod
    def _text(row: Mapping[str, Any], fields: Sequence[str]) -> str:
        return " ".join(as_text(row[field])[:MOST_CHARACTERS] for field in fields)
