"""Logistic regression on a bag of words: TF-IDF of words and pairs of neighbours, by scikit-learn, for labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from promptstill.scoring.rivals.labels import LabelRival
from promptstill.scoring.rivals.task import FittedRival, RivalTask
from promptstill.task.examples import Example

NO_WORDS = "^"  # stands in a text without a word, so that there is always a vocabulary


def fit(task: RivalTask) -> FittedRival | None:
    """None where no output is a label."""

    def texts(rows: Sequence[Example]) -> list[str]:
        return [task.row_text(row).strip() or NO_WORDS for row in rows]

    return LabelRival(task, texts, vectorizer).fit()


def vectorizer() -> list[Any]:
    """Counts the words of a text, those of one letter and a lone `^` too."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return [TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b|\S")]
