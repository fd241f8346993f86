"""Two tasks with demos, to render in every layout: one answers in free text, the other in eight types."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

import dspy

from promptstill.prompt.layouts.parts import NearestDemos
from promptstill.prompt.layouts.task import Task


class Answer(dspy.Signature):
    """Answer from the {context}."""

    context: str = dspy.InputField()
    question: str = dspy.InputField()
    answer: str = dspy.OutputField(desc="a phrase")


class Sort(dspy.Signature):
    """Sort the ticket."""

    text: str = dspy.InputField()
    label: Literal["red", "deep blue"] = dspy.OutputField()
    count: int = dspy.OutputField()
    weight: float = dspy.OutputField()
    urgent: bool = dspy.OutputField()
    tags: list[str] = dspy.OutputField()
    note: str | None = dspy.OutputField()
    seen: date = dspy.OutputField()
    due: date | None = dspy.OutputField()


ANSWER = Task(Answer, "m", 32)
SORT = Task(Sort, "m", 64)
ANSWER_INPUTS = {"context": "A jar with {question} on it.", "question": "What is on the jar?"}
ANSWER_DEMOS = tuple(
    {"context": f"The {word} box holds {{{word}}}.", "question": f"What does the {word} box hold?", "answer": word}
    for word in ("red", "green", "blue")
)
DEMO_POLICIES: dict[str, Any] = {
    "none": (),
    "fixed": ANSWER_DEMOS,
    "nearest": NearestDemos(("question",), ANSWER_DEMOS),
}
SORT_OUTPUTS = {"label": "deep blue", "count": 3, "weight": 1.5, "urgent": True, "tags": ["a", "b"], "note": None}
SORT_OUTPUTS |= {"seen": "2028-02-29", "due": None}
