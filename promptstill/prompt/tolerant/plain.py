"""The value of a reply that marks none, of a task with one output: a sentence such as "The label is x.", a code fence,
a first or last line that is a value, JSON among words.

It is read only where the reply names no other value of the type, anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from promptstill.errors import ReplyError
from promptstill.prompt.fields import Field
from promptstill.prompt.tolerant.marks import line_from, names_pattern
from promptstill.prompt.tolerant.mentions import is_searchable, mentioned
from promptstill.prompt.tolerant.values import Undecided, distinct, find_fences, json_values, read_part

SENTENCE = (
    r"(?:^|(?<=[.!。！]))[ \t*]*(?:(?:so|thus|therefore|hence|overall|in conclusion|finally),?[ \t]+)?"
    r"(?:(?:the|my)[ \t]+)?(?:(?:correct|right|best|final)[ \t]+)?"
    r"[*\"`]{{0,2}}(?:{names})[*\"`]{{0,2}}[ \t]+(?:is|would be|should be):?[ \t]+"
)
SENTENCE_END = re.compile(r"[.!](?=\s|$)|[。！]")


def read_plain(field: Field, names: Mapping[str, Field], text: str) -> list[Any]:
    """The value alone, or nothing. Raises `Undecided` where the reply names two."""
    own = {name: one for name, one in names.items() if one is field}
    is_json = has_json(field.type)
    if not is_searchable(field.type, text):
        return []
    found = read_all(field, json_values(text) if is_json else candidates(own, text))
    if len(found) > 1:
        raise Undecided(field, found, text)
    if is_json:
        return found
    named = mentioned(field.type, text, found)
    if len(named) > 1:
        raise Undecided(field, named, text)
    return found


def has_json(schema: dict[str, Any]) -> bool:
    """Whether a value may be a list or an object."""
    options = schema.get("anyOf", [schema])
    return any(option.get("type") not in ("integer", "number", "null") and not is_word(option) for option in options)


def is_word(schema: dict[str, Any]) -> bool:
    return schema.get("type") in ("string", "boolean") or "enum" in schema or "const" in schema


def read_all(field: Field, parts: Iterable[Any]) -> list[Any]:
    """The different values among the parts."""
    values = []
    for part in parts:
        try:
            values.append(read_part(field, part))
        except Undecided:
            raise
        except ReplyError:
            continue
    return distinct(values)


def candidates(names: Mapping[str, Field], text: str) -> Iterator[str]:
    """The parts of a reply that may be its value."""
    lines = [line for line in text.splitlines() if line.strip()]
    yield from dict.fromkeys(lines[:1] + lines[-1:])
    for fence in find_fences(text):
        inside = text[fence.inside : fence.inside_end]
        if inside.strip():
            yield inside
    for begin in re.finditer(SENTENCE.format(names=names_pattern(names)), text, re.MULTILINE | re.IGNORECASE):
        line = line_from(text, begin.end())
        yield line
        yield re.split(SENTENCE_END, line, maxsplit=1)[0]
