"""One input or output of a task: how its value becomes text, and how text becomes its value again.

The type travels as a JSON schema, so that best.json needs no Python to be read. Refuses text that does not hold a value
of the type; never guesses one. A date is its ISO text.
"""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any

import jsonschema
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Attribute

from optimizer.errors import ReplyError

NONE_WORDS = ("none", "null", "n/a")
DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_NUMBERS = {"integer": (r"-?[0-9]{1,18}", int), "number": (r"-?[0-9]{1,15}(\.[0-9]{1,12})?", float)}


class Field(BaseModel):
    """A named input or output; `type` is the JSON schema of its values."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Attribute(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    desc: str = ""
    type: dict[str, Any]

    @property
    def label(self) -> str:
        """How prompts call the field: `due_date` is "Due date"."""
        return self.name.replace("_", " ").strip().capitalize() or self.name

    @property
    def is_text(self) -> bool:
        """Whether any string is a value."""
        return self.type.get("type") == "string" and "enum" not in self.type and not is_date(self.type)

    @property
    def choices(self) -> list[str] | None:
        """The texts of a closed set of values, or None."""
        values = closed_set(self.type)
        return None if values is None else [as_text(value) for value in values]

    @property
    def regex(self) -> str | None:
        """A pattern of one-line texts that `parse` accepts, or None where the type is no regular language."""
        return pattern(self.type)

    def parse(self, text: str) -> Any:
        """The value that `text` holds. Raises `ReplyError` when it holds none."""
        try:
            return read(self.type, text.strip())
        except ValueError as error:
            raise ReplyError(f"{self.name}: {error}") from error

    def accept(self, value: Any) -> Any:
        """`value`, already decoded from JSON, if it is of the type; a string is parsed. Raises `ReplyError`."""
        if isinstance(value, str):
            return self.parse(value)
        try:
            jsonschema.validate(value, self.type)
        except jsonschema.ValidationError as error:
            raise ReplyError(f"{self.name}: {error.message}") from error
        return value


def as_text(value: Any) -> str:
    """The text of a value in a prompt: strings as they are, lists and objects as JSON, the rest by `str`."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def as_json(value: Any) -> str:
    """The JSON of a value inside an object that is indented by two spaces."""
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n  ")


def is_date(schema: dict[str, Any]) -> bool:
    """Whether the values are days of the calendar, as `datetime.date` in a signature declares."""
    return schema.get("format") == "date"


def closed_set(schema: dict[str, Any]) -> list[Any] | None:
    """The values of a schema that allows only finitely many, or None."""
    if "enum" in schema:
        return list(schema["enum"])
    if "const" in schema:
        return [schema["const"]]
    return [True, False] if schema.get("type") == "boolean" else None


def pattern(schema: dict[str, Any]) -> str | None:
    """A regular expression of the one-line texts of a schema's values, or None."""
    values = closed_set(schema)
    if values is not None:
        return "(" + "|".join(escaped(as_text(value)) for value in values) + ")"
    if "anyOf" in schema:
        parts = [pattern(option) for option in schema["anyOf"]]
        return None if None in parts else "(" + "|".join(str(part) for part in parts) + ")"
    kind = schema.get("type")
    if kind in _NUMBERS:
        return _NUMBERS[kind][0]
    if kind == "array":
        return list_pattern(schema.get("items", {}))
    if kind == "string":
        return DATE if is_date(schema) else rf"[^\n]{{1,{schema.get('maxLength', 2000)}}}"
    return "None" if kind == "null" else None


def list_pattern(items: dict[str, Any]) -> str | None:
    """A JSON list on one line whose items are strings, numbers or members of a closed set of strings."""
    values = closed_set(items)
    if values is not None and all(isinstance(value, str) for value in values):
        item: str | None = '"' + str(pattern(items)) + '"'
    else:
        item = r'"[^"\\\n]{1,400}"' if items.get("type") == "string" else None
        item = pattern(items) if items.get("type") in _NUMBERS else item
    return None if item is None else rf"\[({item}(, {item}){{0,63}})?\]"


def escaped(text: str) -> str:
    """`text` as a pattern that a plain regular-expression engine reads: only the special characters are escaped."""
    return re.sub(r"([.^$*+?{}\[\]\\|()/])", r"\\\1", text).replace("\n", "\\n")


def read(schema: dict[str, Any], text: str) -> Any:
    """The value of the type `schema` that `text` holds. Raises `ValueError`."""
    values = closed_set(schema)
    if values is not None:
        return read_choice(values, text)
    if "anyOf" in schema:
        return read_any(schema["anyOf"], text)
    kind = schema.get("type")
    if kind == "string":
        return read_date(text) if is_date(schema) else text
    if kind == "null":
        return read_none(text)
    if kind in _NUMBERS:
        return read_number(str(kind), text)
    return read_json(schema, text)


def read_choice(values: list[Any], text: str) -> Any:
    """The member of `values` that `text` names; quotes, a final stop and case are forgiven."""
    bare = text.strip("\"'`").rstrip(".").strip().casefold()
    for value in values:
        if as_text(value) == text:
            return value
    for value in values:
        if as_text(value).casefold() == bare:
            return value
    raise ValueError(f"{text[:80]!r} is none of {', '.join(as_text(value) for value in values)}")


def read_any(options: list[dict[str, Any]], text: str) -> Any:
    """The first option that fits; plain strings last, since every text is one."""
    problem = "fits no option"
    for option in sorted(options, key=lambda option: option.get("type") == "string"):
        try:
            return read(option, text)
        except ValueError as error:
            problem = str(error)
    raise ValueError(problem)


def read_none(text: str) -> None:
    """None, when the text says so."""
    if text and text.casefold().rstrip(".") not in NONE_WORDS:
        raise ValueError(f"{text[:80]!r} is not none")


def read_date(text: str) -> str:
    """A day in ISO form (`2026-04-17`) that the calendar has; a final stop is forgiven."""
    day = text.rstrip(".")
    if not re.fullmatch(DATE, day):
        raise ValueError(f"{text[:80]!r} is not a date of the form YYYY-MM-DD")
    return date.fromisoformat(day).isoformat()


def read_number(kind: str, text: str) -> int | float:
    """A number that is the whole text; thousands separators and a final stop are forgiven."""
    digits = text.replace(",", "").rstrip(".")
    if not re.fullmatch(_NUMBERS[kind][0] if kind == "integer" else r"-?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?", digits):
        raise ValueError(f"{text[:80]!r} is not {'an integer' if kind == 'integer' else 'a number'}")
    value: int | float = _NUMBERS[kind][1](digits)
    return value


def read_json(schema: dict[str, Any], text: str) -> Any:
    """A JSON value that satisfies the schema."""
    try:
        value = json.loads(text)
        jsonschema.validate(value, schema)
    except json.JSONDecodeError as error:
        raise ValueError(f"{text[:80]!r} is not JSON ({error.msg})") from error
    except jsonschema.ValidationError as error:
        raise ValueError(error.message) from error
    return value
