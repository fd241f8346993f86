"""The outputs of a reply that the layout's own reader cannot read. Refuses one that gives an output two values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from promptstill.errors import ReplyError
from promptstill.prompt.fields import Field
from promptstill.prompt.reply import ReplyFormat
from promptstill.prompt.tolerant.marks import find_marked, first_line, output_names
from promptstill.prompt.tolerant.plain import has_json, read_all, read_plain
from promptstill.prompt.tolerant.values import Undecided, distinct, read_part, takes_text, unfenced

MOST_CHARACTERS = 200_000  # of a reply; a longer one is not read


def read_tolerantly(
    reply: ReplyFormat, inputs: Sequence[Field], outputs: Sequence[Field], text: str
) -> dict[str, Any] | None:
    """The value of each output, of its type; None where the reply has not all of them. Raises `Undecided`.

    Where the user says how to read a reply, by a pattern or paths, only what stands around a value is forgiven.
    """
    if len(text) > MOST_CHARACTERS:
        return None
    if reply.is_declared:
        return read_declared(reply, outputs, text)
    whole = unfenced(reply.prefix + text)
    if len(outputs) == 1 and not takes_text(outputs[0].type) and (found := read_all(outputs[0], [whole])):
        return {outputs[0].name: found[0]}
    names = output_names(outputs, inputs)
    marked = find_marked(names, whole)
    values = {field.name: decide(field, marked[field.name], whole) for field in outputs if field.name in marked}
    if len(outputs) == 1 and not takes_text(outputs[0].type):
        return read_single(outputs[0], names, values, whole)
    return {field.name: values[field.name] for field in outputs} if len(values) == len(outputs) else None


def read_declared(reply: ReplyFormat, outputs: Sequence[Field], text: str) -> dict[str, Any] | None:
    """The values where the user says that they are."""
    found: dict[str, Any] = {}
    try:
        raw = reply.read(list(outputs), text)
        for field in outputs:
            found[field.name] = read_part(field, raw[field.name])
    except Undecided:
        raise
    except (ReplyError, KeyError):
        return None
    return found


def decide(field: Field, values: Sequence[Any], text: str) -> Any:
    """The one value that all marks give. Raises `Undecided` where there are several."""
    different = distinct(values)
    given = [value for value in different if value != ""] or different  # a heading may have its text under a label
    if len(given) > 1:
        raise Undecided(field, given, text)
    return given[0]


def read_single(
    field: Field, names: Mapping[str, Field], values: Mapping[str, Any], text: str
) -> dict[str, Any] | None:
    """The value of the one output: as it is marked, unless the reply begins with another; else as it stands."""
    if field.name not in values:
        found = read_plain(field, names, text)
        return {field.name: found[0]} if found else None
    begun = [] if has_json(field.type) else read_all(field, [first_line(text)])
    return {field.name: decide(field, [*begun, values[field.name]], text)}
