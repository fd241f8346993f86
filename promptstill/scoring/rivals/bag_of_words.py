"""Logistic regression on a bag of words: TF-IDF of words and pairs of neighbours, by scikit-learn, for labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from promptstill.scoring.rivals.labels import LabelRival
from promptstill.scoring.rivals.task import FittedRival, RivalTask
from promptstill.task.examples import Example
from promptstill.words import find_words

NO_WORDS = "^"  # stands in a text without a word, so that there is always a vocabulary


def fit(task: RivalTask) -> FittedRival | None:
    """None where no output is a label."""

    def texts(rows: Sequence[Example]) -> list[str]:
        return [task.row_text(row).strip() or NO_WORDS for row in rows]

    return LabelRival(task, texts, vectorizer).fit()


def vectorizer() -> list[Any]:
    """Counts the words of a text, those of one letter and signs too, in any script (promptstill/words.py)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = partial(find_words, signs=r"\S")
    return [TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), tokenizer=words, token_pattern=None)]
