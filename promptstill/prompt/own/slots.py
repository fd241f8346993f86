"""The slots of a user's file: `{{field}}`, and `{{ "text" }}` for a text that would else be read as something else.

Single braces are text. Whatever else Jinja has (blocks, filters, attributes, comments) is refused by name.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence

from promptstill.errors import UserError
from promptstill.prompt.template import escape_braces, slots

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Of three braces the last two open the slot, so that {{{field}}} is a value in braces.
CONSTRUCT = re.compile(r"\{\{(?!\{)(?P<slot>[^\n]*?)\}\}|\{%[^\n]*?%\}|\{#[^\n]*?#\}")
OPENING = re.compile(r"\{(?=[{%#])|\r")  # of a construct; and what a text file may lose
OUTER_SPACE = re.compile(r"^\s+|\s+$")


class SlotError(ValueError):
    """A construct of a file that is no slot: which one, why, and what to write."""

    def __init__(self, construct: str, why: str, do: str) -> None:
        super().__init__(construct)
        self.construct, self.why, self.do = construct, why, do

    def at(self, path: str, source: str) -> UserError:
        """The error for the user, with the line of the construct in the file."""
        place = source.find(self.construct)
        line = f", line {source[:place].count(chr(10)) + 1}" if place >= 0 else ""
        return UserError(f"{path}{line}: {self.construct[:80]} cannot be filled.", self.why, self.do)


def to_template(text: str, fields: Sequence[str]) -> str:
    """A user's text as a template of `Prompt`. Raises `SlotError` for an unknown field, or for what is no slot."""
    parts, place = [], 0
    for found in CONSTRUCT.finditer(text):
        parts += [escape_braces(text[place : found.start()]), to_slot(found[0], found["slot"], fields)]
        place = found.end()
    return "".join([*parts, escape_braces(text[place:])])


def to_slot(construct: str, inside: str | None, fields: Sequence[str]) -> str:
    """A construct of the file as a template has it."""
    name = (inside or "").strip()
    if name in fields:
        return "{" + name + "}"
    if (literal := quoted_text(name)) is not None:
        return escape_braces(literal)
    listed = ", ".join(f"{{{{{field}}}}}" for field in fields)
    if NAME.fullmatch(name):
        near = difflib.get_close_matches(name, fields, 1)
        hint = f"Did you mean {{{{{near[0]}}}}}? " if near else ""
        raise SlotError(construct, f"{hint}The recipe's inputs are {listed}.", "Mend the slot, or the signature.")
    raise SlotError(
        construct,
        "A slot holds the name of one input and nothing else: no block, filter, attribute or comment of Jinja.",
        f'Write {listed}; to send the braces themselves, write {{{{ "{construct[:2]}" }}}}.',
    )


def quoted_text(text: str) -> str | None:
    """The text in double quotes, as JSON writes it; None for anything else."""
    try:
        value = json.loads(text) if text.startswith('"') else None
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def to_source(template: str) -> str:
    """A template as the file has it: `to_template` reads it back. Raises `ValueError` for a slot that takes JSON."""
    parts = []
    for text, name in text_and_slots(template):
        parts += [OPENING.sub(lambda found: quote(found[0]), text), "{{" + name + "}}" if name else ""]
    return "".join(parts)


def text_and_slots(template: str) -> list[tuple[str, str]]:
    """Each slot's field with the whole text before it; at the end the rest, with no field. Raises `ValueError`."""
    found, text = [], ""
    for part, slot in slots(template):  # which ends a part at each brace too
        text += part
        if slot is not None:
            if slot[1]:
                raise ValueError(f"{slot[0]} is written as JSON")
            found.append((text, slot[0]))
            text = ""
    return [*found, (text, "")]


def keep_outer_space(source: str) -> str:
    """The source with its outer white space in quotes, where a form of file drops it."""
    return OUTER_SPACE.sub(lambda found: quote(found[0]), source) or quote("")


def quote(text: str) -> str:
    """The construct that stands for a text."""
    return "{{ " + json.dumps(text, ensure_ascii=False) + " }}"
