"""TREC-6: what kind of thing a question asks for. Rows: Li & Roth 2002, read from beside the repository."""

from __future__ import annotations

from typing import Literal

import dspy

from promptstill import Recipe, exact_match, read_jsonl, recipe

Kind = Literal["number", "entity", "location", "person", "description", "abbreviation"]


class ClassifyQuestion(dspy.Signature):
    """Say what kind of thing the question asks for."""

    text: str = dspy.InputField()
    label: Kind = dspy.OutputField()


@recipe
def trec(
    data: str = "../../../shared/data/trec-train-3000.jsonl",
    model: str = "smollm2-135m",
    train: int = 200,
    dev: int = 100,
    test: int = 200,
) -> Recipe:
    return Recipe(
        signature=ClassifyQuestion,
        examples=read_jsonl(data),
        metric=exact_match("label"),
        model=model,
        split=(train, dev, test),
    )
