"""How a reply is read: one reader for each style of reply that a layout asks for.

A reader returns the raw value of each output that it finds; fields.py decides whether that is a value of the output's
type. Refuses only a reply that has not the form of its style.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from pydantic import Field as Attribute

from promptstill.errors import ReplyError
from promptstill.prompt.fields import Field, FrozenModel
from promptstill.strict_json import is_too_deep, parse_float, refuse_constant

OBJECT = json.JSONDecoder(strict=False, parse_float=parse_float, parse_constant=refuse_constant)


class ReplyFormat(FrozenModel):
    """How a reply is read. `prefix` is the beginning of the reply that the prompt itself ends with."""

    style: Literal["text", "labels", "markers", "json"]
    prefix: str = Attribute(default="", max_length=1000)

    def read(self, outputs: list[Field], text: str) -> dict[str, Any]:
        """The raw values of the outputs that the reply holds. Raises `ReplyError`."""
        return READERS[self.style](outputs, self.prefix + text)


def read_text(outputs: list[Field], text: str) -> dict[str, Any]:
    """The whole reply is the one output; a repeated label is dropped."""
    label = f"{outputs[0].label}:"
    value = text.strip()
    return {outputs[0].name: value[len(label) :] if value.startswith(label) else value}


def read_labels(outputs: list[Field], text: str) -> dict[str, Any]:
    """`Label: value` sections, each up to the next label; of a repeated label the first counts."""
    names = {field.label: field.name for field in outputs}
    labels = list(re.finditer(rf"^[ \t]*({'|'.join(map(re.escape, names))}):", text, re.MULTILINE))
    ends = [label.start() for label in labels[1:]] + [len(text)]
    values: dict[str, Any] = {}
    for label, end in zip(labels, ends, strict=False):  # without a label there is still the end of the text
        values.setdefault(names[label[1]], text[label.end() : end].strip())
    return values


def read_markers(outputs: list[Field], text: str) -> dict[str, Any]:
    """DSPy's `[[ ## name ## ]]` sections; of a repeated name the first counts."""
    parts = re.split(r"^[ \t]*\[\[ ## (\w+) ## \]\]", text, flags=re.MULTILINE)
    values: dict[str, Any] = {}
    for name, value in zip(parts[1::2], parts[2::2], strict=True):
        values.setdefault(name, value.strip())
    return {field.name: values[field.name] for field in outputs if field.name in values}


def read_object(outputs: list[Field], text: str) -> dict[str, Any]:
    """The first JSON object in the reply."""
    start = text.find("{")
    try:
        value, _ = OBJECT.raw_decode(text[max(start, 0) :])
    except (ValueError, RecursionError) as error:
        raise ReplyError(f"the reply is no JSON object: {text[:80]!r}") from error
    if not isinstance(value, dict) or is_too_deep(value):
        raise ReplyError(f"the reply is no JSON object: {text[:80]!r}")
    return {field.name: value[field.name] for field in outputs if field.name in value}


READERS = {"text": read_text, "labels": read_labels, "markers": read_markers, "json": read_object}
