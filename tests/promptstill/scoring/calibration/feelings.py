"""A task of three labels, and a model that knows the answers but likes one label far too much."""

from __future__ import annotations

from typing import Any, Literal

import dspy

from promptstill.prompt.layouts import Layout
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.parts import Demo, NearestDemos
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt
from promptstill.task.examples import Example
from tests.support.answers import to_example

LABELS = ("hot", "cold", "mild")
WORDS = (" hot", " cold", " mild", "hot", "cold", "mild", "prompt", "still", "Hello", " ", "co", "ho")
FAVOUR = {"hot": 6.0, "cold": 2.0, "mild": 0.0}  # whatever the row
EVIDENCE = 2.5


class Feel(dspy.Signature):
    """How is the thing?"""

    thing: str = dspy.InputField()
    feel: Literal["hot", "cold", "mild"] = dspy.OutputField()


class FeelAndWhy(dspy.Signature):
    """How is the thing?"""

    thing: str = dspy.InputField()
    feel: Literal["hot", "cold", "mild"] = dspy.OutputField()
    sure: bool = dspy.OutputField()


TASK = Task(Feel, "fake", 8)
WITH_MORE = Task(FeelAndWhy, "fake", 16)


def logits(body: dict[str, Any]) -> dict[str, float]:
    """The model's: the thing of the last question names its label."""
    asked = str(body["messages"][-1]["content"]).rsplit("Thing:")[-1]
    return {label: FAVOUR[label] + EVIDENCE * (f"{label} thing" in asked) for label in LABELS}


def row(number: int, *, labelled: bool = True) -> Example:
    label = LABELS[number % len(LABELS)]
    return to_example(number, {"thing": f"{label} thing {number}"}, {"feel": label} if labelled else {})


TRAIN = [row(number, labelled=False) for number in range(30)]
LABELLED = [row(number) for number in range(100, 130)]
DEV = [row(number) for number in range(200, 212)]
DEMOS: list[Demo] = [{"thing": "hot tea", "feel": "hot"}, {"thing": "cold tea", "feel": "cold"}]


def prompt(layout: Layout = "raw", task: Task = TASK, demos: Any = DEMOS) -> Prompt:
    return build_prompt(task, layout, "How is the thing?", demos, k=2)


def nearest() -> Prompt:
    """Demos that are picked from labelled rows."""
    pool = tuple({**one.inputs, **one.outputs} for one in LABELLED)
    return prompt(demos=NearestDemos(("thing",), pool))
