"""What layouts share: the parts of a prompt as templates, and the `Prompt` made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptstill.prompt.fields import Field
from promptstill.prompt.layouts import Layout
from promptstill.prompt.layouts.grammar import choose_decoding
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Message, Nearest, Prompt
from promptstill.prompt.reply import ReplyFormat
from promptstill.prompt.template import DEMOS_SLOT, defuse, escape_braces, fill

Demo = Mapping[str, Any]  # a value for each field of the signature


@dataclass(frozen=True)
class NearestDemos:
    """Demos that are picked from `pool` for each input, by the similarity of `fields`."""

    fields: tuple[str, ...]
    pool: tuple[Demo, ...]


def to_prompt(
    task: Task,
    layout: Layout,
    instruction: str,
    fixed: list[Message],
    user: str,
    nearest: Nearest | None,
    reply: ReplyFormat,
) -> Prompt:
    """The parts as a prompt, with the decoding that its replies need."""
    return Prompt(
        layout=layout,
        model=task.model,
        instruction=instruction,
        inputs=task.inputs,
        outputs=task.outputs,
        fixed=fixed,
        user=user,
        nearest=nearest,
        markers=list(task.markers),
        reply=reply,
        decoding=choose_decoding(task, layout, reply),
    )


def single_message(
    task: Task, instruction: str, demos: Sequence[Demo] | NearestDemos, k: int
) -> tuple[str, Nearest | None]:
    """Instruction, demos and question as one template, which ends where the answer begins.

    Nearest demos are returned beside it; the template then has a slot for them.
    """
    question = question_template(task)
    demo = f"{question}\n{answer_template(task)}\n\n"
    nearest = None
    if isinstance(demos, NearestDemos):
        nearest = to_nearest(demos, k, [Message(role="user", content=demo)], inside=True)
        demo_text = "{" + DEMOS_SLOT + "}"
    else:
        demo_text = "".join(escape_braces(render_demo(task, demo, row)) for row in demos[:k])
    head = escape_braces(instruction_text(task, instruction)) + "\n\n"
    return f"{head}{demo_text}{question}\n{escape_braces(answer_label(task))}", nearest


def reply_format(task: Task) -> ReplyFormat:
    """One output is the whole reply; several are labelled lines."""
    return ReplyFormat(style="text" if len(task.outputs) == 1 else "labels")


def continued_reply_format(task: Task) -> ReplyFormat:
    """`reply_format` for a prompt that ends with the label of the answer."""
    return ReplyFormat(style="labels", prefix=answer_label(task)) if len(task.outputs) > 1 else reply_format(task)


def answer_label(task: Task) -> str:
    """The label that the answer follows."""
    return f"{task.outputs[0].label}:"


def instruction_text(task: Task, instruction: str) -> str:
    """The instruction, and a line for each output whose description or type the signature states."""
    lines = [instruction.strip()]
    for field in task.outputs:
        parts = [field.desc] if field.desc else []
        if field.choices:
            parts.append("one of " + ", ".join(field.choices))
        elif not field.is_text and field.regex is None:
            parts.append("JSON of the form " + json.dumps(field.type))
        if parts:
            lines.append(f"{field.label}: {'; '.join(parts)}.")
    return "\n".join(lines)


def slot(field: Field) -> str:
    """The slot of a field, as templates write it."""
    return "{" + field.name + "}"


def question_template(task: Task) -> str:
    return "\n".join(f"{escape_braces(field.label)}: {slot(field)}" for field in task.inputs)


def answer_template(task: Task) -> str:
    return "\n".join(f"{escape_braces(field.label)}: {slot(field)}" for field in task.outputs)


def render_demo(task: Task, template: str, row: Demo) -> str:
    """A demo's text, by the same function that fills the prompt with inputs."""
    return fill(template, defuse(row, task.markers))


def to_nearest(demos: NearestDemos, k: int, templates: list[Message], *, inside: bool) -> Nearest:
    pool = [dict(row) for row in demos.pool]
    return Nearest(k=k, fields=list(demos.fields), demo=templates, inside=inside, pool=pool)
