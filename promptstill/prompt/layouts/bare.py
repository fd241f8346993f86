"""The prompt of a student: the inputs and nothing else. `optimize` does not search over it."""

from __future__ import annotations

from typing import Literal

from promptstill.prompt.layouts.parts import (
    answer_label,
    continued_reply_format,
    question_template,
    reply_format,
    to_prompt,
)
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt
from promptstill.prompt.template import escape_braces


def bare_prompt(task: Task, layout: Literal["raw", "chat"] = "raw") -> Prompt:
    """The prompt without instruction and demos."""
    question = question_template(task)
    if layout == "chat":
        return to_prompt(task, layout, "", [], question, None, reply_format(task))
    return to_prompt(
        task, layout, "", [], f"{question}\n{escape_braces(answer_label(task))}", None, continued_reply_format(task)
    )
