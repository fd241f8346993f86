"""What `dspy.Predict` sends without any optimizer, to compare with."""

from __future__ import annotations

from dataclasses import replace

from promptstill.prompt.layouts import Layout
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt


def dspy_default(task: Task, layout: Layout = "dspy-chat") -> Prompt:
    """The signature as DSPy's adapter for `layout` renders it, without demos and without a grammar.

    The JSON format asks for JSON mode where the endpoint has it, as `dspy.JSONAdapter` does for an unknown model.
    """
    prompt = build_prompt(replace(task, structured=False), layout, task.signature.instructions)
    if layout != "json" or not task.structured:
        return prompt
    decoding = prompt.decoding.model_copy(update={"response_format": {"type": "json_object"}})
    return prompt.model_copy(update={"decoding": decoding})
