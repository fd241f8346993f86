"""`raw`: the text of `inline` as a plain completion, without the model's chat markup."""

from __future__ import annotations

from collections.abc import Sequence

from promptstill.prompt.layouts.parts import Demo, NearestDemos, continued_reply_format, single_message, to_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt


def build(task: Task, instruction: str, demos: Sequence[Demo] | NearestDemos, k: int) -> Prompt:
    """The candidate as a text that the model continues."""
    user, nearest = single_message(task, instruction, demos, k)
    return to_prompt(task, "raw", instruction, [], user, nearest, continued_reply_format(task))
