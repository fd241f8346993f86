"""Which values of a type a text names anywhere, so that a reply which names a second one is not read as the first.

It rather sees one too many than one too few: then a reply stays unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from promptstill.prompt.fields import DATE, NONE_WORDS, as_text, closed_set, is_date
from promptstill.prompt.tolerant.values import distinct, named_values
from promptstill.words import UNSPACED

MOST_STEPS = 20_000_000  # choices times characters of the reply that is searched for them
MOST_DIGITS = 300
SHORT = 3  # characters; a longer choice is named by any word that it is a part of ("negative" by "negatively")
NUMBER = re.compile(r"(?<![\w.])-?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
WORD_SIGN = rf"[^\W{UNSPACED}\uac00-\ud7a3]"  # after Chinese, and before a Korean particle, a word may end anywhere


def is_searchable(schema: dict[str, Any], text: str) -> bool:
    """Whether there is time to look for all choices of the type."""
    return len(named_values(schema)) * len(text) <= MOST_STEPS


def mentioned(schema: dict[str, Any], text: str, read: Sequence[Any]) -> list[Any]:
    """The different values of the type that the text names, those that were read from it first."""
    folded = flat(text)
    return distinct([*map(whole, read), *mentioned_choices(schema, folded), *others(schema, folded)])


def flat(text: str) -> str:
    """A text without case, line ends and rows of spaces."""
    return " ".join(text.casefold().split())


def others(schema: dict[str, Any], text: str) -> Iterator[Any]:
    """The numbers, dates and None that a text names, where they are of the type."""
    kind = schema.get("type") if closed_set(schema) is None else "choice"
    for option in schema.get("anyOf", ()):
        yield from others(option, text)
    if kind in ("integer", "number"):
        yield from (number_of(number[0].replace(",", "")) for number in NUMBER.finditer(text))
    elif kind == "null":
        yield from (None for word in NONE_WORDS if re.search(rf"(?<!\w){word}(?!\w)", text))
    elif kind == "string" and is_date(schema):
        yield from (day[0] for day in re.finditer(DATE, text))


def number_of(digits: str) -> Any:
    is_long = len(digits) > MOST_DIGITS  # too long for Python's int
    return whole(float(digits) if is_long or not digits.lstrip("-").isdecimal() else int(digits))


def whole(value: Any) -> Any:
    """A float as an integer where it is one, so that equal numbers are the same."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def mentioned_choices(schema: dict[str, Any], folded: str) -> list[Any]:
    """The choices that a case-folded text names. One inside a longer one does not count, such as
    `billing` in `billing dispute`."""
    spans = [
        (start, -len(name), value)
        for value in named_values(schema)
        if (name := flat(as_text(value)))
        for start in places(name, folded)
    ]
    values, end = [], 0
    for start, length, value in sorted(spans, key=lambda span: span[:2]):
        if start - length > end or start >= end:
            values.append(value)
            end = max(end, start - length)
    return values


def places(name: str, text: str) -> Iterator[int]:
    """Where a text names a choice; a short one is a word of its own."""
    start = text.find(name)
    while start >= 0:
        around = (text[start - 1 : start] + name[0], name[-1] + text[start + len(name) :][:1])
        if len(name) > SHORT or not any(re.fullmatch(WORD_SIGN * 2, pair) for pair in around):
            yield start
        start = text.find(name, start + 1)
