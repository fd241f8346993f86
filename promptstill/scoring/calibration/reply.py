"""How the replies to a prompt write the values of its first output, which is a label."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptstill.endpoint.client import Client
from promptstill.errors import ReplyError
from promptstill.prompt.fields import Field, as_text, closed_set
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.answer import Question
from promptstill.scoring.calibration import ROLE, NoCalibration

MOST_LABELS = 128  # tokens that vLLM gives the log-probabilities of


@dataclass(frozen=True)
class LabelReply:
    """labels: the texts of the values, as prompts show them. beginnings: of a reply with each, up to the label's end.
    alone: whether the label is the whole reply."""

    labels: tuple[str, ...]
    beginnings: tuple[str, ...]
    alone: bool


async def find_label_reply(prompt: Prompt, inputs: Mapping[str, Any], client: Client) -> LabelReply:
    """How the prompt's replies write its labels. inputs: of a row that is asked where the form alone does not say it.

    Raises `NoCalibration` where the first output is no label, or where nothing constrains the reply to the labels.
    """
    field, decoding = prompt.outputs[0], prompt.decoding
    labels = tuple(field.choices or ())
    if not 1 < len(labels) <= MOST_LABELS:
        raise NoCalibration(f"{field.name} is not one of 2 to {MOST_LABELS} labels")
    if decoding.dialect.thinking_tokens:
        raise NoCalibration("the model thinks before it answers")
    if choice := (decoding.structured or {}).get("choice"):
        written = chosen_texts(prompt, choice)
        if written.keys() != set(labels):
            raise NoCalibration(f"the replies that are allowed are not the labels of {field.name}")
        return LabelReply(labels, tuple(written[label] for label in labels), alone=True)
    if not decoding.structured and (decoding.response_format or {}).get("type") != "json_schema":
        raise NoCalibration("nothing constrains its replies to the labels")
    given = await Question(prompt, inputs).ask(client, ROLE)
    if given.outputs is None:
        raise NoCalibration(f"the first reply cannot be read ({given.reason})")
    before = text_before(prompt, field, given.outputs[field.name], given.completion.text)
    values = closed_set(field.type) or []
    return LabelReply(labels, tuple(before + written_value(prompt, value) for value in values), alone=False)


def chosen_texts(prompt: Prompt, choice: list[str]) -> dict[str, str]:
    """Each reply of a choice by the label that it is read as. Raises `NoCalibration` where one cannot be read."""
    try:
        return {as_text(prompt.parse(text)[prompt.outputs[0].name]): text for text in choice}
    except ReplyError as error:
        raise NoCalibration(f"a reply that is allowed cannot be read ({error})") from error


def text_before(prompt: Prompt, field: Field, value: Any, reply: str) -> str:
    """What a reply writes before the value of its first output: the field's name, where the prompt has not written it.

    Raises `NoCalibration`.
    """
    names = [] if prompt.reply.prefix else [field.name, field.label]
    start = next((place + len(name) for name in names if (place := reply.find(name)) >= 0), 0)
    place = reply.find(written_value(prompt, value), start)
    if place < 0:
        raise NoCalibration(f"the reply does not write {field.name} as expected: {reply[:80]!r}")
    return reply[:place]


def written_value(prompt: Prompt, value: Any) -> str:
    """A label as replies write it; in JSON without its quotes."""
    if prompt.reply.style not in ("json", "path"):
        return as_text(value)
    text = json.dumps(value, ensure_ascii=False)
    return text[1:-1] if isinstance(value, str) else text
