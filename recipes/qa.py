"""Answer questions about a short passage."""

import dspy

from promptstill import Recipe, read_jsonl, recipe, token_f1


class AnswerFromContext(dspy.Signature):
    """Answer the question using only the context."""

    context: str = dspy.InputField()
    question: str = dspy.InputField()
    answer: str = dspy.OutputField(desc="the shortest phrase from the context")


@recipe
def qa(data: str = "data/qa.jsonl", model: str = "smollm2-135m") -> Recipe:
    return Recipe(
        signature=AnswerFromContext,
        examples=read_jsonl(data),
        metric=token_f1("answer", accepted="answers"),
        model=model,
        group="context",
    )
