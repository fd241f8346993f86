"""Logistic regression on the embeddings of the inputs, where an embedding model was named, for labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from promptstill.scoring.rivals.labels import LabelRival
from promptstill.scoring.rivals.task import FittedRival, RivalTask
from promptstill.task.examples import Example


def fit(task: RivalTask) -> FittedRival | None:
    """None where nobody asked for embeddings, or no output is a label."""
    if (vectors := task.vectors) is None:
        return None

    def features(rows: Sequence[Example]) -> Any:
        return [vectors[task.row_text(row)] for row in rows]

    return LabelRival(task, features, list).fit()
