"""One value in a part of a reply: without quotes, emphasis, a code fence and a full stop around it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from promptstill.errors import ReplyError
from promptstill.files import canonical_json
from promptstill.prompt.fields import Field, as_text, closed_set, is_date
from promptstill.strict_json import is_too_deep, parse_float, refuse_constant

PAIRS = ("**", "__", "*", "_", "`", '"', "'", "“”", "‘’", "«»", "「」", "『』")
FULL_STOPS = (".", "。")
MOST_LAYERS = 8
FENCE_LINE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})([^\n`]*)(?:\n|\Z)", re.MULTILINE)
OPENING = re.compile(r"[{\[]")
BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)


class Undecided(ReplyError):
    """The reply gives an output two values, and nothing says which is meant."""

    def __init__(self, field: Field, values: Iterable[Any], text: str) -> None:
        one, other, *_ = (as_text(value)[:80] for value in values)
        super().__init__(f"{field.name}: the reply names both {one!r} and {other!r}, which is undecided: {text[:80]!r}")


def takes_text(schema: dict[str, Any]) -> bool:
    """Whether every text is a value of the type."""
    if "anyOf" in schema:
        return any(takes_text(option) for option in schema["anyOf"])
    return schema.get("type") == "string" and closed_set(schema) is None and not is_date(schema)


def named_values(schema: dict[str, Any]) -> list[Any]:
    """The values of the closed sets in a type: its choices, and those of each option."""
    if "anyOf" in schema:
        return [value for option in schema["anyOf"] for value in named_values(option)]
    return closed_set(schema) or []


def distinct(values: Iterable[Any]) -> list[Any]:
    """The values without those that are equal to an earlier one."""
    return list({canonical_json(value): value for value in reversed([*values])}.values())[::-1]


def undressed(text: str) -> Iterator[str]:
    """The text, then without what stands around it, layer by layer."""
    text = text.strip()
    for _ in range(MOST_LAYERS):
        if not text:
            return
        yield text
        inner = next((text[len(a) : -len(b)] for a, b in map(pair_of, PAIRS) if is_within(text, a, b)), None)
        if inner is None and not text.endswith(FULL_STOPS):
            return
        text = (text[:-1] if inner is None else inner).strip()


def pair_of(pair: str) -> tuple[str, str]:
    """What opens and what closes."""
    return (pair[0], pair[1]) if len(set(pair)) > 1 else (pair, pair)


def is_within(text: str, opening: str, closing: str) -> bool:
    return len(text) > len(opening + closing) and text.startswith(opening) and text.endswith(closing)


@dataclass(frozen=True)
class Fence:
    """A code fence by places in the text: of its first line, of what is inside, and behind its last line."""

    start: int
    inside: int
    inside_end: int
    end: int


def find_fences(text: str) -> list[Fence]:
    """The code fences of a text. One that is never closed reaches to the end."""
    found, opened = [], None
    for line in FENCE_LINE.finditer(text):
        if opened is None:
            opened = line
        elif not line[1].strip():
            found.append(Fence(opened.start(), opened.end(), line.start(), line.end()))
            opened = None
    return found if opened is None else [*found, Fence(opened.start(), opened.end(), len(text), len(text))]


def unfenced(text: str) -> str:
    """What is inside a code fence that is the whole text; else the text."""
    text = text.strip()
    fence = next(iter(find_fences(text)), None)
    return text[fence.inside : fence.inside_end] if fence and fence.start == 0 and fence.end == len(text) else text


def read_part(field: Field, part: Any) -> Any:
    """The value that a part of a reply is. Raises `ReplyError` where it is none, `Undecided` where it could be two."""
    if not isinstance(part, str) or takes_text(field.type):
        return field.accept(part)
    problem = ReplyError(f"{field.name}: {part[:80]!r} is no value")
    for text in undressed(unfenced(part)):
        try:
            value = field.parse(text)
        except ReplyError as error:
            problem = error
            continue
        alike = twins(field, value)
        if len(alike) < 2 or text in map(as_text, alike):
            return value
        problem = Undecided(field, alike, part)
    raise problem


def twins(field: Field, value: Any) -> list[Any]:
    """The choices that differ from a value in case alone, itself among them."""
    name = as_text(value).casefold()
    return distinct(one for one in named_values(field.type) if as_text(one).casefold() == name)


def refuse_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises `ValueError` where it has a key twice."""
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return value


OBJECT = json.JSONDecoder(
    strict=False, parse_float=parse_float, parse_constant=refuse_constant, object_pairs_hook=refuse_twins
)


def json_values(text: str) -> list[Any]:
    """The JSON lists and objects that stand in a text. One that is broken, or was cut, is left out with all inside."""
    found, place = [], 0
    while place < len(text) and (opening := OPENING.search(text, place)):
        try:
            value, place = OBJECT.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            place = end_of_brackets(text, opening.start())
        else:
            found += [] if is_too_deep(value) else [value]
    return found


def end_of_brackets(text: str, start: int) -> int:
    """Where the bracket that opens at `start` is closed; the text's end where it is not, as in a reply that was cut."""
    depth = 0
    for sign in BRACKETS.finditer(text, start):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(sign[0], 0)
        if depth == 0:
            return sign.end()
    return len(text)
