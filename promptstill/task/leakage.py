"""Finds training rows that equal, or nearly equal, a dev or test row in their inputs. Such a row is a leak.

A row leaks where *every* input does: it is equal, or the Jaccard similarity of its shingles (runs of three words) is
0.8 or more, which is one changed word in 25. Questions on one passage share the passage and differ in the question.
Texts that fill in one form share the form's words, so shingles that many texts contain do not count.

MinHash LSH (Broder 1997; `datasketch`) finds candidates, and each is checked by its exact similarity. Among 3,000 TREC
questions, 473 SQuAD and 512 QA rows, the pairs above 0.7 were the same question in other case or punctuation. The most
similar pair that asks for different things ("what does the E stand for in E=mc2", "what does the c …") reaches 0.65.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from datasketch import MinHash, MinHashLSH

from promptstill.errors import UserError
from promptstill.files import canonical_json
from promptstill.prompt.fields import as_text
from promptstill.task.examples import Example
from promptstill.task.splits import Splits
from promptstill.words import find_words

LEAK_SIMILARITY = 0.8
SHINGLE_WORDS = 3
# A shingle in more than this share of the held-out texts, and in more than this many, belongs to a form.
FORM_SHARE, FORM_TEXTS = 0.05, 20
BANDS, BAND_ROWS = 25, 5  # misses one in 20,000 pairs at the threshold
SIGNS = r"""[^\w\s.,;:!?'"`…‘’“”、。「」]"""  # those that carry meaning: "2+3" is not "2-3"


@dataclass(frozen=True)
class Leak:
    """A training row, and the held-out row that it nearly equals; `similarity` is that of their least similar input."""

    row: Example
    held_out: Example
    similarity: float


def leave_out_leaks(splits: Splits) -> Splits:
    """The splits without the train rows that leak. Raises `UserError` where none is left."""
    leaking = {id(leak.row) for leak in train_leaks(splits)}
    kept = [row for row in splits.train if id(row) not in leaking]
    if not kept:
        raise UserError("Every train row leaks.", "Each nearly equals a dev or test row.", "Give rows that differ.")
    return replace(splits, train=kept, whole_train=splits.train)


def train_leaks(splits: Splits) -> list[Leak]:
    """The leaks from dev and test into train."""
    return find_leaks(splits.train, [*splits.dev, *splits.test])


def leak_warnings(splits: Splits) -> list[str]:
    """A line about the leaks from dev and test into train, with the most similar pair; none where there are none."""
    if splits.folds:
        return fold_warnings(splits.folds)
    if not (leaks := train_leaks(splits)):
        return []
    number = f"{len(leaks):,} of {len(splits.train):,} train rows nearly equal a dev or test row"
    return [f"{number}: {describe_worst(leaks, splits)}. Scores may be too high; --drop-leaks leaves such rows out"]


def fold_warnings(folds: Sequence[Splits]) -> list[str]:
    """The same of rows in different folds."""
    found = [(leak, fold) for fold in folds for leak in find_leaks(fold.train, fold.test)]
    if not found:
        return []
    worst, fold = max(found, key=lambda one: one[0].similarity)
    rows = {id(row) for leak, _ in found for row in (leak.row, leak.held_out)}
    return [
        f"{len(rows)} rows nearly equal a row of another fold: {describe_worst([worst], fold)}. Scores may be too "
        "high; --drop-leaks leaves such rows out"
    ]


def describe_worst(leaks: Sequence[Leak], splits: Splits) -> str:
    """The most similar pair: where both rows are, and how much the same their inputs are."""
    worst = max(leaks, key=lambda leak: leak.similarity)
    role = "train" if worst.row.outputs else "unlabelled"
    split = "dev" if any(worst.held_out is row for row in splits.dev) else "test"
    like = "has the same inputs as" if worst.similarity == 1 else f"is {worst.similarity:.0%} the same in its inputs as"
    return f"{worst.row.location} ({role}) {like} {worst.held_out.location} ({split})"


def find_leaks(rows: Sequence[Example], held_out: Sequence[Example]) -> list[Leak]:
    """For each row that leaks, the most similar held-out row.

    The input with the most distinct values among `held_out` finds the candidates; then all inputs are compared.
    """
    if not rows or not held_out:
        return []
    columns = {name: Column(as_text(one.inputs[name]) for one in held_out) for name in held_out[0].inputs}
    key = max(columns, key=lambda name: len(columns[name].texts))
    by_text: dict[str, list[Example]] = {}
    for one in held_out:
        by_text.setdefault(as_text(one.inputs[key]), []).append(one)
    near = columns[key].find_near(dict.fromkeys(as_text(row.inputs[key]) for row in rows))
    exact = {canonical_json(dict(one.inputs)): one for one in reversed(held_out)}
    found = []
    for row in rows:
        same = exact.get(canonical_json(dict(row.inputs)))
        others = [other for text in near.get(as_text(row.inputs[key]), []) for other in by_text[text]]
        leaks = (
            [Leak(row, same, 1.0)] if same else [Leak(row, one, row_similarity(columns, row, one)) for one in others]
        )
        worst = max(leaks, key=lambda leak: leak.similarity, default=None)
        if worst and worst.similarity >= LEAK_SIMILARITY:
            found.append(worst)
    return found


def row_similarity(columns: dict[str, Column], row: Example, other: Example) -> float:
    """The least similarity over the inputs, the shortest compared first; 0.0 as soon as one is below the threshold."""
    least = 1.0
    for name in sorted(columns, key=lambda name: len(as_text(row.inputs[name]))):
        least = min(least, columns[name].similarity(as_text(row.inputs[name]), as_text(other.inputs[name])))
        if least < LEAK_SIMILARITY:
            return 0.0
    return least


class Column:
    """The distinct held-out values of one input, as texts, and the shingles that only belong to their form."""

    def __init__(self, held_out: Iterable[str]) -> None:
        self.texts = sorted(set(held_out))
        counts = Counter(shingle for text in self.texts for shingle in shingles(text))
        most = max(FORM_TEXTS, FORM_SHARE * len(self.texts))
        self.form = frozenset(shingle for shingle, count in counts.items() if count > most)

    def content_shingles(self, text: str) -> frozenset[str]:
        """The shingles that do not belong to the form, or all where the whole text does."""
        found = shingles(text)
        return (found - self.form) or found

    def similarity(self, left: str, right: str) -> float:
        """Jaccard similarity of the content shingles."""
        if left == right:
            return 1.0
        a, b = self.content_shingles(left), self.content_shingles(right)
        return len(a & b) / len(a | b)

    def find_near(self, texts: Iterable[str]) -> dict[str, list[str]]:
        """For each of `texts`, the held-out texts that are similar enough."""
        index = MinHashLSH(num_perm=BANDS * BAND_ROWS, params=(BANDS, BAND_ROWS))
        for text, signature in self.signatures(self.texts):
            index.insert(text, signature, check_duplication=False)
        found = {}
        for text, signature in self.signatures(texts):
            candidates = sorted(str(other) for other in index.query(signature))
            found[text] = [other for other in candidates if self.similarity(text, other) >= LEAK_SIMILARITY]
        return found

    def signatures(self, texts: Iterable[str]) -> Iterator[tuple[str, MinHash]]:
        """Each text with its MinHash. CRC-32 hashes the shingles: it is fast, and the same in every process."""
        listed = list(texts)
        sets = ([one.encode(errors="surrogatepass") for one in self.content_shingles(text)] for text in listed)
        yield from zip(listed, MinHash.generator(sets, num_perm=BANDS * BAND_ROWS, hashfunc=zlib.crc32), strict=True)


@lru_cache(maxsize=8192)
def shingles(text: str) -> frozenset[str]:
    """The runs of three words, or of three characters where no spaces are written, the ends padded so that every word
    stands in three of them."""
    words = find_words(text.casefold(), 1, SIGNS)
    padded = ["^"] * (SHINGLE_WORDS - 1) + words + ["$"] * (SHINGLE_WORDS - 1)
    starts = range(len(padded) - SHINGLE_WORDS + 1)
    return frozenset(" ".join(padded[start : start + SHINGLE_WORDS]) for start in starts)
