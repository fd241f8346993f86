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
    has_json_mode = task.structured or task.dialect.json_mode
    dialect = task.dialect.model_copy(update={"json_mode": "json_object" if has_json_mode else None})
    bare = replace(task, structured=False, dialect=dialect)
    return build_prompt(bare, layout, task.signature.instructions)
