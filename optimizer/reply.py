"""How a reply is read: one function for each style of answer that a layout asks for.

A reader returns the raw value of each output it finds; what a value may be is the field's business.
"""

from __future__ import annotations

import json
import re
from typing import Any

from optimizer.errors import ReplyError
from optimizer.fields import Field


def read_text(outputs: list[Field], text: str) -> dict[str, Any]:
    """The whole reply is the one output; an echoed label is dropped."""
    label = f"{outputs[0].label}:"
    bare = text.strip()
    return {outputs[0].name: bare[len(label) :] if bare.startswith(label) else bare}


def read_labels(outputs: list[Field], text: str) -> dict[str, Any]:
    """`Label: value` sections, each up to the next label; the first of a label counts."""
    labels = {field.label: field.name for field in outputs}
    marks = list(re.finditer(rf"^[ \t]*({'|'.join(map(re.escape, labels))}):", text, re.MULTILINE))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    found: dict[str, Any] = {}
    for mark, end in zip(marks, ends, strict=False):  # without a mark there is still the end of the text
        found.setdefault(labels[mark[1]], text[mark.end() : end].strip())
    return found


def read_markers(outputs: list[Field], text: str) -> dict[str, Any]:
    """DSPy's `[[ ## name ## ]]` sections; the first of a name counts."""
    parts = re.split(r"^[ \t]*\[\[ ## (\w+) ## \]\]", text, flags=re.MULTILINE)
    found: dict[str, Any] = {}
    for name, value in zip(parts[1::2], parts[2::2], strict=True):
        found.setdefault(name, value.strip())
    return {field.name: found[field.name] for field in outputs if field.name in found}


def read_object(outputs: list[Field], text: str) -> dict[str, Any]:
    """The first JSON object in the reply."""
    start = text.find("{")
    try:
        value, _ = json.JSONDecoder(strict=False).raw_decode(text[max(start, 0) :])
    except (json.JSONDecodeError, RecursionError) as error:
        raise ReplyError(f"the reply is no JSON object: {text[:80]!r}") from error
    if not isinstance(value, dict):
        raise ReplyError(f"the reply is no JSON object: {text[:80]!r}")
    return {field.name: value[field.name] for field in outputs if field.name in value}


READERS = {"text": read_text, "labels": read_labels, "markers": read_markers, "json": read_object}
