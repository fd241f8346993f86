"""A `Prompt` from a candidate's parts: instruction, demos, layout, reasoning. The only place that knows DSPy's formats.

chat       the instruction as system message, demos as turns
inline     everything inside one user message
raw        the same text as a plain completion, without chat markup
dspy-chat  what `dspy.ChatAdapter` sends
json       what `dspy.JSONAdapter` sends
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import dspy
from dspy.adapters import ChatAdapter, JSONAdapter
from pydantic import TypeAdapter

from optimizer.errors import UserError
from optimizer.fields import Field
from optimizer.prompt import Decoding, Layout, Message, Nearest, Prompt, Reply
from optimizer.template import DEMOS_SLOT, defuse, fill, literal

LAYOUTS: tuple[Layout, ...] = ("chat", "inline", "raw", "dspy-chat", "json")
REASONING = "reasoning"
REASONING_TOKENS = 160
REASONING_CHARS = 480  # so that a constrained answer still fits behind it
MARKER_TOKENS = 16  # what `[[ ## name ## ]]` or a JSON key costs around one output
LINE = r" [^\s][^\n]*\n?"  # in raw text a small model often begins with a line end, which would be all of its answer
Demo = Mapping[str, Any]


@dataclass(frozen=True)
class NearestDemos:
    """Demos picked for each input from a pool, by the similarity of some fields."""

    fields: tuple[str, ...]
    pool: tuple[Demo, ...]


@dataclass(frozen=True)
class Task:
    """What all candidates of a run share. `structured` says whether the engine constrains outputs to a grammar;
    `markers` are the model's (see `Prompt`)."""

    signature: type[dspy.Signature]
    model: str
    max_tokens: int
    single_line: bool = True
    structured: bool = True
    markers: tuple[str, ...] = ()

    @cached_property
    def inputs(self) -> list[Field]:
        return [to_field(name, info) for name, info in self.signature.input_fields.items()]

    @cached_property
    def outputs(self) -> list[Field]:
        return [to_field(name, info) for name, info in self.signature.output_fields.items()]

    @property
    def can_reason(self) -> bool:
        return REASONING not in self.signature.output_fields

    def reasoned(self) -> Task:
        """The task with a reasoning field before its outputs, as `dspy.ChainOfThought` has it."""
        field = dspy.OutputField(desc="one or two short sentences that lead to the answer", max_length=REASONING_CHARS)
        signature = self.signature.prepend(REASONING, field, type_=str)
        return replace(self, signature=signature, max_tokens=self.max_tokens + REASONING_TOKENS)


def to_field(name: str, info: Any) -> Field:
    """A signature's field, its type as JSON schema. Raises `UserError` for a type that JSON cannot hold."""
    extra = info.json_schema_extra or {}
    desc = extra.get("desc", "")
    try:
        schema = TypeAdapter(info.rebuild_annotation()).json_schema()
    except Exception as error:  # pydantic has several unrelated errors for this
        raise UserError(
            f"The field {name} has the type {info.annotation}, which has no JSON form.",
            str(error),
            "Use str, int, float, bool, date, Literal, lists, optional values or pydantic models.",
        ) from error
    return Field(name=name, desc="" if desc == f"${{{name}}}" else desc, type=schema)


def build(
    task: Task,
    layout: Layout,
    instruction: str,
    demos: Sequence[Demo] | NearestDemos = (),
    *,
    k: int = 0,
    reasoning: bool = False,
) -> Prompt:
    """The prompt of one candidate; `k` demos, the first of a list or the nearest of a pool."""
    task = task.reasoned() if reasoning else task
    if layout in ("dspy-chat", "json"):
        return build_dspy(task, layout, instruction, demos, k)
    return (
        build_turns(task, instruction, demos, k)
        if layout == "chat"
        else build_text(task, layout, instruction, demos, k)
    )


def build_turns(task: Task, instruction: str, demos: Sequence[Demo] | NearestDemos, k: int) -> Prompt:
    """`chat`: system message, demo turns, question."""
    question = question_template(task) if len(task.inputs) > 1 else slot(task.inputs[0])
    answer = slot(task.outputs[0]) if len(task.outputs) == 1 else answer_template(task)
    turns = [Message(role="user", content=question), Message(role="assistant", content=answer)]
    fixed = [Message(role="system", content=guide(task, instruction))]
    nearest = None
    if isinstance(demos, NearestDemos):
        nearest = to_nearest(demos, k, turns, inside=False)
    else:
        fixed += [Message(role=m.role, content=render(task, m.content, demo)) for demo in demos[:k] for m in turns]
    return finish(task, "chat", instruction, fixed, question, nearest, own_reply(task))


def build_text(task: Task, layout: Layout, instruction: str, demos: Sequence[Demo] | NearestDemos, k: int) -> Prompt:
    """`inline` and `raw`: one text that ends where the answer begins."""
    question = question_template(task)
    demo = f"{question}\n{answer_template(task)}\n\n"
    head = literal(guide(task, instruction)) + "\n\n"
    lead = f"{task.outputs[0].label}:"
    nearest = None
    if isinstance(demos, NearestDemos):
        nearest = to_nearest(demos, k, [Message(role="user", content=demo)], inside=True)
        shown = "{" + DEMOS_SLOT + "}"
    else:
        shown = "".join(literal(render(task, demo, row)) for row in demos[:k])
    reply = own_reply(task)
    if reply.style == "labels" and layout == "raw":
        reply = Reply(style="labels", prefix=lead)
    return finish(task, layout, instruction, [], f"{head}{shown}{question}\n{literal(lead)}", nearest, reply)


def bare(task: Task, layout: Literal["raw", "chat"] = "raw") -> Prompt:
    """A student's prompt: the inputs and nothing else, no instruction and no demos."""
    question, lead = question_template(task), literal(f"{task.outputs[0].label}:")
    reply = own_reply(task)
    if layout == "chat":
        return finish(task, layout, "", [], question, None, reply)
    reply = Reply(style="labels", prefix=f"{task.outputs[0].label}:") if reply.style == "labels" else reply
    return finish(task, layout, "", [], f"{question}\n{lead}", None, reply)


def build_dspy(task: Task, layout: Layout, instruction: str, demos: Sequence[Demo] | NearestDemos, k: int) -> Prompt:
    """`dspy-chat` and `json`: DSPy's adapter renders sentinels, which become slots."""
    adapter = JSONAdapter() if layout == "json" else ChatAdapter()
    signature = task.signature.with_instructions(instruction)
    sentinels = {field.name: f"\ue000{field.name}\ue001" for field in [*task.inputs, *task.outputs]}
    asked = {field.name: sentinels[field.name] for field in task.inputs}
    given = [] if isinstance(demos, NearestDemos) else [defuse(demo, task.markers) for demo in demos[:k]]
    *fixed, user = [Message.model_validate(message) for message in adapter.format(signature, given, asked)]
    nearest = None
    if isinstance(demos, NearestDemos):
        _, *turns, _ = adapter.format(signature, [sentinels], asked)
        templates = [Message(role=m["role"], content=unsentinel(m["content"], sentinels)) for m in turns]
        nearest = to_nearest(demos, k, templates, inside=False)
    reply = Reply(style="json" if layout == "json" else "markers")
    return finish(task, layout, instruction, fixed, unsentinel(user.content, sentinels), nearest, reply)


def finish(
    task: Task, layout: Layout, instruction: str, fixed: list[Message], user: str, nearest: Nearest | None, reply: Reply
) -> Prompt:
    """The prompt with its decoding."""
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
        decoding=decoding(task, layout, reply),
    )


def dspy_default(task: Task, layout: Layout = "dspy-chat") -> Prompt:
    """What `dspy.Predict` sends: its adapter's rendering of the bare signature, without demos or a grammar.

    Its JSON format asks for JSON mode where the endpoint has it, as `dspy.JSONAdapter` does for an unknown model.
    """
    prompt = build(replace(task, structured=False), layout, task.signature.instructions)
    if layout != "json" or not task.structured:
        return prompt
    decoding = prompt.decoding.model_copy(update={"response_format": {"type": "json_object"}})
    return prompt.model_copy(update={"decoding": decoding})


def own_reply(task: Task) -> Reply:
    """A single output is the whole reply; several are labelled lines."""
    return Reply(style="text" if len(task.outputs) == 1 else "labels")


def guide(task: Task, instruction: str) -> str:
    """The instruction, and what each output may be where the signature says so."""
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
    """The template of a field's value."""
    return "{" + field.name + "}"


def question_template(task: Task) -> str:
    return "\n".join(f"{literal(field.label)}: {slot(field)}" for field in task.inputs)


def answer_template(task: Task) -> str:
    return "\n".join(f"{literal(field.label)}: {slot(field)}" for field in task.outputs)


def render(task: Task, template: str, row: Demo) -> str:
    """A demo's text, by the same function that fills the prompt."""
    return fill(template, defuse(row, task.markers))


def to_nearest(demos: NearestDemos, k: int, templates: list[Message], *, inside: bool) -> Nearest:
    pool = [dict(row) for row in demos.pool]
    return Nearest(k=k, fields=list(demos.fields), demo=templates, inside=inside, pool=pool)


def unsentinel(text: str, sentinels: Mapping[str, str]) -> str:
    """Rendered text as a template: a sentinel in JSON quotes takes the value as JSON."""
    template = literal(text)
    for name, mark in sentinels.items():
        template = template.replace(f'"{mark}"', "{" + name + "!j}").replace(mark, "{" + name + "}")
    return template


def decoding(task: Task, layout: Layout, reply: Reply) -> Decoding:
    """Greedy; stops where the answer ends; constrained to the outputs' types where the engine can."""
    styles = {"markers": ["[[ ## completed ## ]]"], "json": []}
    extra = MARKER_TOKENS * (len(task.outputs) + 1) if reply.style in styles else 8 * (len(task.outputs) - 1)
    stop = styles.get(reply.style, ["\n"] if reply.style == "text" and task.single_line else ["\n\n"])
    if not task.single_line and reply.style not in styles:
        stop = [f"\n\n{task.inputs[0].label}:"]
    grammar = constraint(task, layout, reply) if task.structured else None
    json_form = {"type": "json_schema", "json_schema": {"name": "outputs", "schema": object_schema(task)}}
    return Decoding(
        max_tokens=task.max_tokens + extra,
        min_tokens=int(layout == "raw" and not grammar),  # vLLM's own parameter
        stop=[] if grammar and "json" in grammar else stop,
        structured=grammar,
        response_format=json_form if reply.style == "json" and task.structured else None,
    )


def constraint(task: Task, layout: Layout, reply: Reply) -> dict[str, Any] | None:
    """vLLM's `structured_outputs` for typed outputs; None where every output is free text or has no grammar."""
    if reply.style == "json" or all(field.is_text for field in task.outputs):
        bare_line = layout == "raw" and reply.style == "text" and task.single_line
        return {"regex": LINE} if bare_line else None
    space = " " if layout == "raw" else ""
    if reply.style == "text":
        field = task.outputs[0]
        if field.choices:
            return {"choice": [space + choice for choice in field.choices]}
        return {"regex": space + field.regex} if field.regex else {"json": field.type}
    patterns = [field.regex for field in task.outputs]
    if None in patterns:
        return None
    if reply.style == "markers":
        parts = [rf"\[\[ ## {f.name} ## \]\]\n{p}\n\n" for f, p in zip(task.outputs, patterns, strict=True)]
        return {"regex": "".join(parts) + r"\[\[ ## completed ## \]\]"}
    lines = [f"{f.label}: {p}" for f, p in zip(task.outputs, patterns, strict=True)]
    whole = "\n".join(lines)
    return {"regex": whole[len(reply.prefix) :] if reply.prefix else whole}


def object_schema(task: Task) -> dict[str, Any]:
    """The JSON schema of all outputs together."""
    definitions = {key: value for field in task.outputs for key, value in field.type.get("$defs", {}).items()}
    properties = {f.name: {key: v for key, v in f.type.items() if key != "$defs"} for f in task.outputs}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": list(properties)}
    return schema | {"additionalProperties": False} | ({"$defs": definitions} if definitions else {})
