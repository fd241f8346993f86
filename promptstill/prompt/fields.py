"""One input or output of a task: how its value becomes text, and how text becomes its value again.

The type is kept as a JSON schema, so that best.json can be read without the user's Python. Text that does not hold a
value of the type is refused; no value is guessed. A date is its ISO text.
"""

from __future__ import annotations

import json
import math
import re
from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic import Field as Attribute

from promptstill.errors import ReplyError
from promptstill.prompt.schema import check_schema, check_value
from promptstill.strict_json import parse_json

REASONING = "reasoning"  # the output in which a model thinks before it answers, as DSPy calls it
MOST_NAMED = 2_000  # characters of choices that a message names
NONE_WORDS = ("none", "null", "n/a")
DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
FLOAT = r"-?([0-9]+(\.[0-9]+)?|\.[0-9]+)([eE][-+]?[0-9]+)?"  # in one way only: a long reply is read in linear time
_NUMBERS = {"integer": (r"-?[0-9]{1,18}", int), "number": (r"-?[0-9]{1,15}(\.[0-9]{1,12})?", float)}


class FrozenModel(BaseModel):
    """A part of best.json: it cannot be changed, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Field(FrozenModel):
    """A named input or output; `type` is the JSON schema of its values."""

    name: str = Attribute(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)
    desc: str = ""
    type: dict[str, Any]

    @field_validator("type")
    @classmethod
    def _type_is_allowed(cls, schema: dict[str, Any]) -> dict[str, Any]:
        check_schema(schema)
        return schema

    @property
    def label(self) -> str:
        """The field's name in a prompt: `due_date` is "Due date"."""
        return self.name.replace("_", " ").strip().capitalize() or self.name

    @property
    def is_text(self) -> bool:
        """Whether every string is a value."""
        return self.type.get("type") == "string" and "enum" not in self.type and not is_date(self.type)

    @property
    def takes_any_text(self) -> bool:
        """Whether `parse` refuses no text, and gives each as it is but for the white space at its ends."""
        return self.is_text and closed_set(self.type) is None and "anyOf" not in self.type

    @property
    def choices(self) -> list[str] | None:
        """The texts of all values where they are finitely many, else None."""
        values = closed_set(self.type)
        return None if values is None else [as_text(value) for value in values]

    @property
    def regex(self) -> str | None:
        """A pattern of one-line texts that `parse` accepts; None where no pattern describes the type."""
        return schema_pattern(self.type)

    def parse(self, text: str) -> Any:
        """The value that `text` holds. Raises `ReplyError` when it holds none."""
        try:
            return read_value(self.type, text.strip())
        except ValueError as error:
            raise ReplyError(f"{self.name}: {error}") from error

    def accept(self, value: Any) -> Any:
        """`value`, decoded from JSON, where it is of the type; a string is parsed. Raises `ReplyError`."""
        if isinstance(value, str):
            return self.parse(value)
        try:
            self.check(value)
        except ValueError as error:
            raise ReplyError(f"{self.name}: {error}") from error
        return value

    def check(self, value: Any) -> None:
        """Refuse a value that is not of the type. Raises `ValueError`."""
        if not (self.is_text and isinstance(value, str)):
            check_value(self.type, value)


def as_text(value: Any) -> str:
    """A value as a prompt shows it: strings as they are, lists and objects as JSON, all else by `str`."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def as_json(value: Any) -> str:
    """The JSON of a value inside an object that is indented by two spaces."""
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n  ")


def is_date(schema: dict[str, Any]) -> bool:
    """Whether the values are days of the calendar, as `datetime.date` in a signature declares."""
    return schema.get("format") == "date"


def closed_set(schema: dict[str, Any]) -> list[Any] | None:
    """All values of the schema where they are finitely many, else None."""
    if "enum" in schema:
        return list(schema["enum"])
    if "const" in schema:
        return [schema["const"]]
    return [True, False] if schema.get("type") == "boolean" else None


def schema_pattern(schema: dict[str, Any]) -> str | None:
    """A regular expression for the one-line texts of the schema's values, or None."""
    values = closed_set(schema)
    if values is not None:
        return "(" + "|".join(escape(as_text(value)) for value in values) + ")"
    if "anyOf" in schema:
        parts = [schema_pattern(option) for option in schema["anyOf"]]
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
    """A pattern for a JSON list on one line, of strings, of numbers or of strings from an enumeration; else None."""
    values = closed_set(items)
    if values is not None and all(isinstance(value, str) for value in values):
        item: str | None = '"' + str(schema_pattern(items)) + '"'
    else:
        item = r'"[^"\\\n]{1,400}"' if items.get("type") == "string" else None
        item = schema_pattern(items) if items.get("type") in _NUMBERS else item
    return None if item is None else rf"\[({item}(, {item}){{0,63}})?\]"


def escape(text: str) -> str:
    """`text` as a pattern for itself. Spaces stay as they are, unlike in `re.escape`: not all engines know `\\ `."""
    return re.sub(r"([.^$*+?{}\[\]\\|()/])", r"\\\1", text).replace("\n", "\\n")


def read_value(schema: dict[str, Any], text: str) -> Any:
    """The value of the type `schema` that `text` holds. Raises `ValueError`."""
    values = closed_set(schema)
    if values is not None:
        return read_choice(values, text)
    if "anyOf" in schema:
        return read_union(schema["anyOf"], text)
    kind = schema.get("type")
    if kind == "string":
        return read_date(text) if is_date(schema) else text
    if kind == "null":
        return read_none(text)
    if kind in _NUMBERS:
        return read_number(str(kind), text)
    return read_json_value(schema, text)


def read_choice(values: list[Any], text: str) -> Any:
    """The one of `values` that `text` names; quotes, a full stop at the end and case are ignored."""
    bare = text.strip("\"'`").rstrip(".").strip().casefold()
    for value in values:
        if as_text(value) == text:
            return value
    for value in values:
        if as_text(value).casefold() == bare:
            return value
    named = ", ".join(as_text(value) for value in values)
    raise ValueError(f"{text[:80]!r} is none of {named[:MOST_NAMED]}{'…' if len(named) > MOST_NAMED else ''}")


def read_union(options: list[dict[str, Any]], text: str) -> Any:
    """The value by the first option that fits; plain strings are tried last, since every text is one."""
    problem = "fits no option"
    for option in sorted(options, key=lambda option: option.get("type") == "string"):
        try:
            return read_value(option, text)
        except ValueError as error:
            problem = str(error)
    raise ValueError(problem)


def read_none(text: str) -> None:
    """None, where the text is empty or one of NONE_WORDS."""
    if text and text.casefold().rstrip(".") not in NONE_WORDS:
        raise ValueError(f"{text[:80]!r} is not none")


def read_date(text: str) -> str:
    """A day of the calendar in ISO form (`2026-04-17`); a full stop at the end is ignored."""
    day = text.rstrip(".")
    if not re.fullmatch(DATE, day):
        raise ValueError(f"{text[:80]!r} is not a date of the form YYYY-MM-DD")
    return date.fromisoformat(day).isoformat()


def read_number(kind: str, text: str) -> int | float:
    """A number that is the whole text; commas between thousands and a full stop at the end are ignored."""
    digits = text.replace(",", "").rstrip(".")
    if not re.fullmatch(_NUMBERS[kind][0] if kind == "integer" else FLOAT, digits):
        raise ValueError(f"{text[:80]!r} is not {'an integer' if kind == 'integer' else 'a number'}")
    value: int | float = _NUMBERS[kind][1](digits)
    if math.isinf(value):
        raise ValueError(f"{text[:80]!r} is too large a number")
    return value


def read_json_value(schema: dict[str, Any], text: str) -> Any:
    """A JSON value that satisfies the schema."""
    try:
        value = parse_json(text)
    except ValueError as error:
        raise ValueError(f"{text[:80]!r} is not JSON ({getattr(error, 'msg', error)})") from error
    check_value(schema, value)
    return value
