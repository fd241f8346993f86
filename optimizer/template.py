"""Templates with `{field}` slots, filled in one pass: what fills a slot is never read as a template again.

A template is a Python format string restricted to field names; `{field!j}` writes the value as JSON, doubled braces
stand for themselves. Attribute access, indexing and format specifications are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from string import Formatter
from typing import Any

from optimizer.fields import as_json, as_text

DEMOS_SLOT = "#demos"
BREAK = "\u200b"


@lru_cache(maxsize=4096)
def slots(template: str) -> tuple[tuple[str, tuple[str, str] | None], ...]:
    """A template as (literal, slot) pairs; a slot is (field, conversion) with conversion "" or "j" for JSON."""
    pairs = []
    for literal, name, spec, conversion in Formatter().parse(template):
        if spec or (conversion or "") not in ("", "j"):
            raise ValueError(f"a slot takes no format: {{{name}}}")
        pairs.append((literal, None if name is None else (name, conversion or "")))
    return tuple(pairs)


def check_slots(template: str, names: set[str]) -> None:
    """Refuse a template that names anything but `names`."""
    for _, slot in slots(template):
        if slot and slot[0] not in names:
            raise ValueError(f"the template names {{{slot[0]}}}, which is no field of the prompt")


def fill(template: str, values: Mapping[str, Any], demos: str = "") -> str:
    """The template with its slots filled, in one pass: what is filled in is never read as a template."""
    parts = []
    for literal, slot in slots(template):
        parts.append(literal)
        if slot is not None:
            name, conversion = slot
            value = demos if name == DEMOS_SLOT else values[name]
            parts.append(as_json(value) if conversion == "j" else as_text(value))
    return "".join(parts)


def defuse(value: Any, markers: Sequence[str]) -> Any:
    """`value` with each marker in its strings broken by a zero-width space: an engine's tokenizer reads a chat marker
    as structure wherever it stands, so one that a user typed must not stay whole."""
    if isinstance(value, str):
        for marker in markers:
            value = value.replace(marker, marker[0] + BREAK + marker[1:])
        return value
    if isinstance(value, Mapping):
        return {key: defuse(one, markers) for key, one in value.items()}
    return [defuse(one, markers) for one in value] if isinstance(value, list) else value


def literal(text: str) -> str:
    """`text` as a template that renders to itself."""
    return text.replace("{", "{{").replace("}", "}}")
