"""The leakage firewall: no row to learn from may equal, or nearly equal, a dev or test row in its inputs.

Two rows leak where *every* input does: equal, or a Jaccard similarity of 0.8 and more over runs of three words, which
is one changed word in 25. Questions on one passage share the passage and are told apart by the question; texts that
fill in one form share the form's words, which do not count.

Candidates come from MinHash LSH (Broder 1997; `datasketch`); each is verified by its exact similarity. Among 3,000
TREC questions, 473 SQuAD and 512 QA rows, the pairs above 0.7 were the same question in other case or punctuation; the
likest that ask for different things ("what does the E stand for in E=mc2", "what does the c …") reach 0.65.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from datasketch import MinHash, MinHashLSH

from optimizer.errors import UserError
from optimizer.examples import Example, Splits
from optimizer.fields import as_text
from optimizer.files import canonical

NEAR = 0.8
RUN = 3
FORM, FORM_TEXTS = 0.05, 20  # a run in more than this share of the held-out texts, and this many, is a form's
BANDS, BAND = 25, 5  # finds a pair at the threshold but for one in 20,000
# Words; signs that carry meaning ("2+3" is not "2-3"); each character of scripts that put no space between words.
TOKEN = re.compile(r"""[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|\w+|[^\w\s.,;:!?'"`…‘’“”、。「」]""")


@dataclass(frozen=True)
class Leak:
    """A row to learn from, and the held-out row that it nearly equals; `similarity` is that of the least like input."""

    row: Example
    held: Example
    similarity: float


def firewall(rows: Sequence[Example], splits: Splits, *, drop: bool) -> tuple[list[Example], int]:
    """The rows (train and unlabelled) that leak nothing, and how many do. Raises `UserError` unless `drop`."""
    leaks = find_leaks(rows, [*splits.dev, *splits.test])
    if leaks and not drop:
        raise refusal(leaks, rows, splits)
    leaking = {id(leak.row) for leak in leaks}
    return [row for row in rows if id(row) not in leaking], len(leaks)


def refusal(leaks: Sequence[Leak], rows: Sequence[Example], splits: Splits) -> UserError:
    """Names the worst pair, and says how many there are."""
    worst = max(leaks, key=lambda leak: leak.similarity)
    role = "train" if worst.row.outputs else "unlabelled"
    split = "dev" if any(worst.held is row for row in splits.dev) else "test"
    like = "has the same inputs as" if worst.similarity == 1 else f"is {worst.similarity:.0%} the same in its inputs as"
    return UserError(
        f"{worst.row.where} ({role}) {like} {worst.held.where} ({split}).",
        f"A score on rows that the student has learned is no score. Of {len(rows):,} rows, {len(leaks):,} leak so.",
        "Remove them, or leave them out of training with --drop-leaks.",
    )


def find_leaks(rows: Sequence[Example], held: Sequence[Example]) -> list[Leak]:
    """One leak for each row that has any: its likest held-out row.

    The input with the most distinct values among `held` picks the candidates; then all inputs are compared.
    """
    if not rows or not held:
        return []
    columns = {name: Column(as_text(one.inputs[name]) for one in held) for name in held[0].inputs}
    key = max(columns, key=lambda name: len(columns[name].texts))
    by_text: dict[str, list[Example]] = {}
    for one in held:
        by_text.setdefault(as_text(one.inputs[key]), []).append(one)
    near = columns[key].near(dict.fromkeys(as_text(row.inputs[key]) for row in rows))
    exact = {canonical(dict(one.inputs)): one for one in reversed(held)}
    found = []
    for row in rows:
        same = exact.get(canonical(dict(row.inputs)))
        others = [other for text in near.get(as_text(row.inputs[key]), []) for other in by_text[text]]
        leaks = [Leak(row, same, 1.0)] if same else [Leak(row, one, likeness(columns, row, one)) for one in others]
        worst = max(leaks, key=lambda leak: leak.similarity, default=None)
        if worst and worst.similarity >= NEAR:
            found.append(worst)
    return found


def likeness(columns: dict[str, Column], row: Example, other: Example) -> float:
    """The least similarity over the inputs, the shortest compared first; 0.0 as soon as one is below the threshold."""
    least = 1.0
    for name in sorted(columns, key=lambda name: len(as_text(row.inputs[name]))):
        least = min(least, columns[name].similarity(as_text(row.inputs[name]), as_text(other.inputs[name])))
        if least < NEAR:
            return 0.0
    return least


class Column:
    """The distinct held-out values of one input, as texts, and which runs of words are merely their form."""

    def __init__(self, held: Iterable[str]) -> None:
        self.texts = sorted(set(held))
        counts = Counter(run for text in self.texts for run in shingles(text))
        most = max(FORM_TEXTS, FORM * len(self.texts))
        self.form = frozenset(run for run, count in counts.items() if count > most)

    def runs(self, text: str) -> frozenset[str]:
        """The runs of three words that the form does not hold, or all where it holds the whole text."""
        found = shingles(text)
        return (found - self.form) or found

    def similarity(self, left: str, right: str) -> float:
        """Jaccard similarity of the runs."""
        if left == right:
            return 1.0
        a, b = self.runs(left), self.runs(right)
        return len(a & b) / len(a | b)

    def near(self, texts: Iterable[str]) -> dict[str, list[str]]:
        """Those of `texts` that have near ones among the held-out, and which."""
        index = MinHashLSH(num_perm=BANDS * BAND, params=(BANDS, BAND))
        for text, signature in self.signatures(self.texts):
            index.insert(text, signature, check_duplication=False)
        found = {}
        for text, signature in self.signatures(texts):
            near = sorted(str(other) for other in index.query(signature))
            found[text] = [other for other in near if self.similarity(text, other) >= NEAR]
        return found

    def signatures(self, texts: Iterable[str]) -> Iterator[tuple[str, MinHash]]:
        """Each text with its MinHash. CRC-32 hashes the runs: fast, and the same in every process."""
        kept = list(texts)
        runs = ([run.encode(errors="surrogatepass") for run in self.runs(text)] for text in kept)
        yield from zip(kept, MinHash.generator(runs, num_perm=BANDS * BAND, hashfunc=zlib.crc32), strict=True)


@lru_cache(maxsize=8192)
def shingles(text: str) -> frozenset[str]:
    """The runs of three words, the ends padded so that every word stands in three of them."""
    padded = ["^"] * (RUN - 1) + TOKEN.findall(text.casefold()) + ["$"] * (RUN - 1)
    return frozenset(" ".join(padded[start : start + RUN]) for start in range(len(padded) - RUN + 1))
