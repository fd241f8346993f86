"""Answer questions about a short passage: the task of `optimize --tour`."""

import dspy

from promptstill import Recipe, read_jsonl, recipe, token_f1


class AnswerFromContext(dspy.Signature):
    """Answer the question using only the context."""

    context: str = dspy.InputField()
    question: str = dspy.InputField()
    answer: str = dspy.OutputField(desc="the shortest phrase from the context")


@recipe
def qa() -> Recipe:
    return Recipe(
        signature=AnswerFromContext,
        examples=read_jsonl("rows.jsonl"),
        metric=token_f1("answer", accepted="answers"),
        group="context",
    )
