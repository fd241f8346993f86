"""Templates with `{field}` slots, filled in one pass: a value that fills a slot is never read as a template.

A template is a Python format string that may only name fields; `{field!j}` writes the value as JSON, and a doubled
brace is a brace. Attribute access, indexing and format specifications are refused.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from string import Formatter
from typing import Any

from promptstill.prompt.fields import as_json, as_text

DEMOS_SLOT = "#demos"
ZERO_WIDTH_SPACE = "\u200b"
NUMBER = re.compile("[0-9]+")
FAMILY, MAX_KINDS, MAX_FIRSTS = 10, 1_000, 100  # of equal markers but for numbers; kinds; their first characters
DIGITS = "[0-9]{1,20}"  # bounded, as each of them may begin a marker
Kind = tuple[str, ...]
MAX_SLOTS = 4  # of one field


@lru_cache(maxsize=4096)
def slots(template: str) -> tuple[tuple[str, tuple[str, str] | None], ...]:
    """A template as (text, slot) pairs; a slot is (field, conversion), with conversion "" or, for JSON, "j"."""
    pairs = []
    for text, name, spec, conversion in Formatter().parse(template):
        if spec or (conversion or "") not in ("", "j"):
            raise ValueError(f"a slot takes no format: {{{name}}}")
        pairs.append((text, None if name is None else (name, conversion or "")))
    return tuple(pairs)


def check_slots(templates: Sequence[str], names: set[str]) -> None:
    """Refuse templates with slots other than `names`, or with one of them too often. Raises `ValueError`.

    A value fills each of its slots, so their number bounds how much longer a prompt is than its inputs.
    """
    counts = Counter(slot[0] for template in templates for _, slot in slots(template) if slot)
    for name, count in counts.items():
        if name not in names:
            raise ValueError(f"the template names {{{name}}}, which is no field of the prompt")
        if count > MAX_SLOTS:
            raise ValueError(f"the template names {{{name}}} {count:,} times, more than {MAX_SLOTS}")


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


def defuse(value: Any, markers: Sequence[str]) -> Any:
    """`value` with a zero-width space inside each marker in its strings: values and keys, at every depth.

    An engine's tokenizer reads a chat marker as structure wherever it stands, also inside an input.
    """
    pattern = marker_pattern(tuple(markers))
    return value if pattern is None else _defuse(value, pattern)


def _defuse(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return pattern.sub(r"\g<0>" + ZERO_WIDTH_SPACE, value)
    if isinstance(value, Mapping):
        return {_defuse(key, pattern): _defuse(one, pattern) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(_defuse(one, pattern) for one in value)
    return [_defuse(one, pattern) for one in value] if isinstance(value, list) else value


@lru_cache(maxsize=64)
def marker_pattern(markers: tuple[str, ...]) -> re.Pattern[str] | None:
    """Finds the first character of each marker, so that markers which overlap are all found; None without markers.

    Some tokenizers have thousands of numbered markers (`<unused17>`): of FAMILY or more, any number counts. Raises
    `ValueError` where there are more kinds of markers than a text is searched for.
    """
    shapes = Counter(NUMBER.sub("0", marker) for marker in markers)
    kinds = {marker_kind(marker, numbered=shapes[NUMBER.sub("0", marker)] >= FAMILY) for marker in markers}
    rests: dict[str, list[Kind]] = {}
    for kind in kinds:
        if len(kind) > 1:
            rests.setdefault(kind[0], []).append(kind[1:])
    if sum(map(len, rests.values())) > MAX_KINDS or len(rests) > MAX_FIRSTS:
        raise ValueError(f"there are more than {MAX_KINDS:,} kinds of markers")
    found = [f"{first}(?={any_of(kinds)})" for first, kinds in rests.items()]
    return re.compile("|".join(found)) if found else None


def fewest_markers(markers: Sequence[str]) -> tuple[str, ...]:
    """The markers; of those that differ in their numbers alone as many as make `marker_pattern` look for any number."""
    seen: Counter[str] = Counter()
    kept = []
    for marker in markers:
        shape = NUMBER.sub("0", marker)
        seen[shape] += 1
        if seen[shape] <= FAMILY:
            kept.append(marker)
    return tuple(kept)


def marker_kind(marker: str, *, numbered: bool) -> Kind:
    """A pattern for each character; where markers are numbered, one for all digits in a row after the first."""
    parts = re.split("([0-9]+)", marker[1:]) if numbered else [marker[1:]]
    pieces = [re.escape(marker[:1])] if marker else []
    for place, part in enumerate(parts):
        pieces += [DIGITS] if place % 2 else map(re.escape, part)
    return tuple(pieces)


def any_of(kinds: Sequence[Kind]) -> str:
    """A pattern for what begins with one of the kinds. Their common beginnings are looked at once, so it is fast."""
    if () in kinds:
        return ""
    rests: dict[str, list[Kind]] = {}
    for kind in kinds:
        rests.setdefault(kind[0], []).append(kind[1:])
    branches = [first + any_of(rest) for first, rest in sorted(rests.items())]
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"


def escape_braces(text: str) -> str:
    """`text` as a template that renders to itself."""
    return text.replace("{", "{{").replace("}", "}}")


def as_jinja(template: str) -> str:
    """The same as a Jinja template, which has demos as its variable `demos`."""
    parts = []
    for text, slot in slots(template):
        parts.append("{{ " + json.dumps(text, ensure_ascii=False) + " }}" if re.search(r"[{}]", text) else text)
        parts.append("" if slot is None else "{{ demos }}" if slot[0] == DEMOS_SLOT else "{{ " + slot[0] + " }}")
    return "".join(parts)
