"""Say whether a review is positive or negative."""

from typing import Literal

import dspy

from promptstill import Recipe, exact_match, read_jsonl, recipe


class ClassifySentiment(dspy.Signature):
    """Classify the sentiment of the review."""

    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


@recipe
def sentiment(data: str = "data/sentiment.jsonl", model: str = "smollm2-135m") -> Recipe:
    return Recipe(signature=ClassifySentiment, examples=read_jsonl(data), metric=exact_match("sentiment"), model=model)
