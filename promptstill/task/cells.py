"""Single values of rows: a table's cell for a field's type, and what a value that does not fit was likely meant to be.

A number with a decimal comma is refused rather than read as thousands. A guess is only named in a message.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator
from datetime import date
from typing import Any

from promptstill.errors import UserError
from promptstill.prompt.fields import Field, is_date
from promptstill.text import one_of

THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?\.?")
LOCAL_DAY = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})")
ISO_LIKE = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d).*", re.DOTALL)


def read_cell(field: Field, value: Any, location: str) -> Any:
    """The cell of a table where a number is wanted: a text in one form only, and 3 for the 3.0 of a data frame.

    Raises `UserError` for a comma that does not stand between thousands.
    """
    kinds = type_names(field)
    if isinstance(value, float) and value.is_integer() and "integer" in kinds and "number" not in kinds:
        return int(value)
    is_number = kinds & {"integer", "number"} and "string" not in kinds
    if is_number and isinstance(value, str) and "," in value and not THOUSANDS.fullmatch(value.strip()):
        raise UserError(
            f"{location}: {field.name} is {value[:80]!r}.",
            "A comma may only stand between thousands.",
            "Write numbers with a decimal point: 1234.5",
        )
    return value


def type_names(field: Field) -> set[str]:
    """The JSON types of the field's values, as far as its schema names them."""
    return {str(option.get("type")) for option in (field.type, *field.type.get("anyOf", ()))}


def likely_value(field: Field, value: Any) -> str:
    """The value that was likely meant by one that does not fit, as a sentence; empty where there is none."""
    text = str(value).strip()
    if field.choices is not None:
        names = {choice.casefold(): choice for choice in field.choices}
        near = difflib.get_close_matches(text.casefold(), list(names), 1)
        return f"Did you mean {names[near[0]]}?" if near else ""
    if any(is_date(option) for option in (field.type, *field.type.get("anyOf", ()))):
        days = sorted(set(iso_days(text)))
        return f"Write the day in ISO form: {one_of(days)}." if days else ""
    return ""


def iso_days(text: str) -> Iterator[str]:
    """The days that a text in a local form may mean, in ISO form: 03/04/2026 may be two."""
    if match := ISO_LIKE.fullmatch(text):
        found = [(int(match[1]), int(match[2]), int(match[3]))]
    elif match := LOCAL_DAY.fullmatch(text):
        first, second, year = int(match[1]), int(match[3]), int(match[4])
        found = [(year, second, first)] + ([] if match[2] == "." else [(year, first, second)])
    else:
        return
    for year, month, day in found:
        with contextlib.suppress(ValueError):  # there is no such day
            yield date(year, month, day).isoformat()
