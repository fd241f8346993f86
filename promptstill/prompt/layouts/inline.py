"""`inline`: instruction, demos and question inside one user message."""

from __future__ import annotations

from collections.abc import Sequence

from promptstill.prompt.layouts.parts import Demo, NearestDemos, reply_format, single_message, to_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt


def build(task: Task, instruction: str, demos: Sequence[Demo] | NearestDemos, k: int) -> Prompt:
    """The candidate as one user message."""
    user, nearest = single_message(task, instruction, demos, k)
    return to_prompt(task, "inline", instruction, [], user, nearest, reply_format(task))
