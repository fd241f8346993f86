"""How the reply to a layout is decoded: where it stops, and the grammar that constrains it to the outputs' types."""

from __future__ import annotations

from typing import Any

from promptstill.prompt.decoding import Decoding
from promptstill.prompt.fields import Field
from promptstill.prompt.layouts import Layout
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.reply import ReplyFormat

MARKER_TOKENS = 16  # that `[[ ## name ## ]]` or a JSON key takes around one output
LINE = r" [^\s][^\n]*\n?"  # not empty: in raw text a small model often begins with the line end that stops its answer


def choose_decoding(task: Task, layout: Layout, reply: ReplyFormat) -> Decoding:
    """Greedy, up to where the answer ends, and constrained to the outputs' types where the engine can do that."""
    styles = {"markers": ["[[ ## completed ## ]]"], "json": []}
    extra = MARKER_TOKENS * (len(task.outputs) + 1) if reply.style in styles else 8 * (len(task.outputs) - 1)
    stop = styles.get(reply.style, ["\n"] if reply.style == "text" and task.single_line else ["\n\n"])
    pretty = not task.structured and any(is_json(field) for field in task.outputs)  # models write JSON on many lines
    if (pretty or not task.single_line) and reply.style not in styles:
        stop = [f"\n\n{task.inputs[0].label}:"]
    grammar = output_grammar(task, layout, reply) if task.structured else None
    return Decoding(
        max_tokens=task.max_tokens + extra,
        min_tokens=int(layout == "raw" and not grammar),  # vLLM's own parameter
        stop=[] if grammar and "json" in grammar else stop,
        structured=grammar,
        response_format=json_form(task) if reply.style == "json" else None,
        dialect=task.dialect.in_prompt,
    )


def json_form(task: Task) -> dict[str, Any] | None:
    """What the JSON layout asks for as `response_format`: the outputs' schema, JSON of any form, or nothing.

    vLLM constrains to any schema. OpenAI does so where the schema is `strict`.
    """
    if not task.structured and task.dialect.json_mode != "json_schema":
        return {"type": "json_object"} if task.dialect.json_mode else None
    strict = {} if task.structured else {"strict": True}
    return {"type": "json_schema", "json_schema": {"name": "outputs", **strict, "schema": object_schema(task)}}


def is_json(field: Field) -> bool:
    """Whether the values of an output are JSON that may take several lines: a list, or what no pattern describes."""
    return not field.is_text and (field.regex is None or field.type.get("type") == "array")


def output_grammar(task: Task, layout: Layout, reply: ReplyFormat) -> dict[str, Any] | None:
    """vLLM's `structured_outputs` for typed outputs.

    None where all outputs are free text, where one of several has no pattern, and for JSON, whose schema is sent as
    `response_format`. Free text on one line is still kept from being empty.
    """
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
