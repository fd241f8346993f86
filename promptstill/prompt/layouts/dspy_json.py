"""`json`: what `dspy.JSONAdapter` sends."""

from __future__ import annotations

from collections.abc import Sequence

from dspy.adapters import JSONAdapter

from promptstill.prompt.layouts.adapter import build_with_adapter
from promptstill.prompt.layouts.parts import Demo, NearestDemos
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt
from promptstill.prompt.reply import ReplyFormat


def build(task: Task, instruction: str, demos: Sequence[Demo] | NearestDemos, k: int) -> Prompt:
    """The candidate in DSPy's JSON format."""
    return build_with_adapter(JSONAdapter(), task, "json", instruction, demos, k, reply=ReplyFormat(style="json"))
