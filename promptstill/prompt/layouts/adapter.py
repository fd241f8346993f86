"""Prompts as one of DSPy's adapters writes them: it renders a sentinel for each field, which then becomes a slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from promptstill.prompt.layouts import Layout
from promptstill.prompt.layouts.parts import Demo, NearestDemos, to_nearest, to_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Message, Prompt
from promptstill.prompt.reply import ReplyFormat
from promptstill.prompt.template import defuse, escape_braces


def build_with_adapter(
    adapter: Any,
    task: Task,
    layout: Layout,
    instruction: str,
    demos: Sequence[Demo] | NearestDemos,
    k: int,
    *,
    reply: ReplyFormat,
) -> Prompt:
    """The candidate as `adapter.format` writes it."""
    signature = task.signature.with_instructions(instruction)
    sentinels = {field.name: f"\ue000{field.name}\ue001" for field in [*task.inputs, *task.outputs]}
    inputs = {field.name: sentinels[field.name] for field in task.inputs}
    fixed_demos = [] if isinstance(demos, NearestDemos) else [defuse(demo, task.markers) for demo in demos[:k]]
    *fixed, user = [Message.model_validate(message) for message in adapter.format(signature, fixed_demos, inputs)]
    nearest = None
    if isinstance(demos, NearestDemos):
        shown = {name: mark for name, mark in sentinels.items() if all(name in row for row in demos.pool)}
        _, *turns, _ = adapter.format(signature, [shown], inputs)
        templates = [Message(role=m["role"], content=to_template(m["content"], sentinels)) for m in turns]
        nearest = to_nearest(demos, k, templates, inside=False)
    return to_prompt(task, layout, instruction, fixed, to_template(user.content, sentinels), nearest, reply)


def to_template(text: str, sentinels: Mapping[str, str]) -> str:
    """Rendered text as a template; a sentinel in quotes becomes a slot that takes the value as JSON."""
    template = escape_braces(text)
    for name, sentinel in sentinels.items():
        template = template.replace(f'"{sentinel}"', "{" + name + "!j}").replace(sentinel, "{" + name + "}")
    return template
