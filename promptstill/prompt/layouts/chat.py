"""`chat`: the instruction as system message, demos as turns, then the question."""

from __future__ import annotations

from collections.abc import Sequence

from promptstill.prompt.layouts.parts import (
    Demo,
    NearestDemos,
    answer_template,
    instruction_text,
    question_template,
    render_demo,
    reply_format,
    slot,
    to_nearest,
    to_prompt,
)
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Message, Prompt


def build(task: Task, instruction: str, demos: Sequence[Demo] | NearestDemos, k: int) -> Prompt:
    """The candidate as chat turns."""
    question = question_template(task) if len(task.inputs) > 1 else slot(task.inputs[0])
    answer = slot(task.outputs[0]) if len(task.outputs) == 1 else answer_template(task)
    turns = [Message(role="user", content=question), Message(role="assistant", content=answer)]
    fixed = [Message(role="system", content=instruction_text(task, instruction))]
    nearest = None
    if isinstance(demos, NearestDemos):
        nearest = to_nearest(demos, k, turns, inside=False)
    else:
        fixed += [Message(role=m.role, content=render_demo(task, m.content, demo)) for demo in demos[:k] for m in turns]
    return to_prompt(task, "chat", instruction, fixed, question, nearest, reply_format(task))
