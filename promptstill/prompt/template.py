"""Templates with `{field}` slots, filled in one pass: a value that fills a slot is never read as a template.

A template is a Python format string that may only name fields; `{field!j}` writes the value as JSON, and a doubled
brace is a brace. Attribute access, indexing and format specifications are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from string import Formatter
from typing import Any

from promptstill.prompt.fields import as_json, as_text

DEMOS_SLOT = "#demos"
ZERO_WIDTH_SPACE = "\u200b"


@lru_cache(maxsize=4096)
def slots(template: str) -> tuple[tuple[str, tuple[str, str] | None], ...]:
    """A template as (text, slot) pairs; a slot is (field, conversion), with conversion "" or, for JSON, "j"."""
    pairs = []
    for text, name, spec, conversion in Formatter().parse(template):
        if spec or (conversion or "") not in ("", "j"):
            raise ValueError(f"a slot takes no format: {{{name}}}")
        pairs.append((text, None if name is None else (name, conversion or "")))
    return tuple(pairs)


def check_slots(template: str, names: set[str]) -> None:
    """Refuse a template with slots other than `names`. Raises `ValueError`."""
    for _, slot in slots(template):
        if slot and slot[0] not in names:
            raise ValueError(f"the template names {{{slot[0]}}}, which is no field of the prompt")


def fill(template: str, values: Mapping[str, Any], demos: str = "") -> str:
    """The template with its slots filled by `values`, and its demo slot by `demos`."""
    parts = []
    for text, slot in slots(template):
        parts.append(text)
        if slot is not None:
            name, conversion = slot
            value = demos if name == DEMOS_SLOT else values[name]
            parts.append(as_json(value) if conversion == "j" else as_text(value))
    return "".join(parts)


def break_markers(value: Any, markers: Sequence[str]) -> Any:
    """`value` with a zero-width space inside each marker in its strings.

    An engine's tokenizer reads a chat marker as structure wherever it stands, also inside an input.
    """
    if isinstance(value, str):
        for marker in markers:
            value = value.replace(marker, marker[0] + ZERO_WIDTH_SPACE + marker[1:])
        return value
    if isinstance(value, Mapping):
        return {key: break_markers(one, markers) for key, one in value.items()}
    return [break_markers(one, markers) for one in value] if isinstance(value, list) else value


def escape_braces(text: str) -> str:
    """`text` as a template that renders to itself."""
    return text.replace("{", "{{").replace("}", "}}")
