"""JSON schemas of fields: what a type may hold, and that checking a value has an end."""

from __future__ import annotations

import tracemalloc
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, StringConstraints, TypeAdapter
from pydantic import Field as Attribute

from promptstill.prompt.schema import check_schema, check_value
from tests.support.artifacts import doubled


class Part(BaseModel):
    name: Annotated[str, StringConstraints(pattern=r"^(INV|ORD)-[0-9]{4}$")]
    kind: Literal["screw", "nut"]
    size: float = Attribute(ge=0, multiple_of=0.5)
    parts: list[Part] = []


class Whole(BaseModel):
    parts: dict[str, Part | None]
    seen: set[str]
    pair: tuple[int, bool]


WHOLE = TypeAdapter(Whole).json_schema()
PART = {"name": "INV-0001", "kind": "nut", "size": 1.5, "parts": []}


def test_what_pydantic_writes_is_a_type_that_is_checked() -> None:
    check_schema(WHOLE)
    value: dict[str, Any] = {"parts": {"a": PART | {"parts": [PART]}, "b": None}, "seen": ["x", "y"], "pair": [1, True]}
    check_value(WHOLE, value)
    for change, message in (
        ({"seen": ["x", "x"]}, "it has non-unique elements"),
        ({"pair": [1, 2]}, "2 is not of type 'boolean'"),
        ({"parts": {"a": PART | {"parts": [PART | {"kind": "bolt"}]}}}, r"'bolt' is not one of \['screw', 'nut'\]"),
        ({"parts": {"a": PART | {"name": "INV-1"}}}, "'INV-1' does not match "),
        ({"parts": {"a": PART | {"size": 0.7}}}, "0.7 is not a multiple of 0.5"),
        ({"parts": {"a": PART | {"size": 10**400}}}, "too large a number"),
    ):
        with pytest.raises(ValueError, match=message):
            check_value(WHOLE, value | change)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$ref": "http://127.0.0.1:1/x"}, "may not refer to http://127.0.0.1:1/x, only to"),
        ({"items": {"properties": {"a": {"$ref": "file:///etc/passwd"}}}}, "may not refer to file:///etc/passwd"),
        ({"$ref": "#/$defs/None"}, "the type has no #/"),
        ({"$ref": 5}, "may not refer to 5"),
        ({"$id": "http://127.0.0.1/"}, "a type may not have \\$id"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "a type may not have \\$schema"),
        ({"anyOf": [{"patternProperties": {"^(a+)+$": {}}}]}, "a type may not have patternProperties"),
        ({"items": {"type": "string", "pattern": "^(a+)+$"}}, "may not have the pattern"),
        ({"pattern": "(?=a)a"}, "may not have the pattern"),
        ({"pattern": r"^(a)\1$"}, "may not have the pattern"),
        ({"pattern": "(a|b)*c"}, "may not have the pattern"),
        ({"pattern": "a{1,99999999999999999999}"}, "may not have the pattern"),
        ({"pattern": "a" * 201}, "may not have the pattern"),
        ({"pattern": "["}, "may not have the pattern"),
        ({"pattern": 5}, "a pattern is no text"),
        (
            {"anyOf": [{"pattern": rf"\w{{60}}\w{{60}}\w{{60}}\w{{{n}}}"} for n in range(9)]},
            "patterns of more than 1,000",
        ),
        ({"enum": []}, "an enum is empty"),
        ({"type": ["string", "null"]}, "a type is one word"),
        ({"anyOf": [True]}, "True is no schema"),
        ({"anyOf": {}}, "anyOf is no list"),
        ({"$defs": []}, r"\$defs is no object"),
        ({"required": [1, "a"]}, "required names what is no text"),
        ({"type": "text"}, "the type is no JSON schema"),
        ({"multipleOf": 0}, "the type is no JSON schema"),
        ({"anyOf": [{"type": "array", "items": {}}] * 1500}, "more than 2,000 parts"),
        ({"title": "x" * 2**20}, "more than 2,000 parts or 1,048,576 characters"),
    ],
)
def test_a_type_whose_check_has_no_bound_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_schema(schema)


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        (doubled(40), 1, "too large to check"),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, 1, "nested too deeply|too large to check"),
        ({"anyOf": [{"type": "array", "items": {}}] * 900 + [{"type": "string"}]}, [1] * 300_000, "too large to check"),
        ({"type": "array", "items": {"type": "integer"}}, [1] * 300_000, "too large to check"),
        ({}, [[1] * 300_000], "too large to check"),
        ({"type": "array", "uniqueItems": True}, [1, "a"] * 10_000, "it has non-unique elements"),
        ({"type": "string", "pattern": "a"}, "a" * 10_001, "does not match"),
        ({"type": "array", "items": {"pattern": r"^\w{60}\w{60}"}}, ["é" * 10_000] * 100, "too large to check"),
        ({"anyOf": [{"type": "integer"}] * 1990}, ["x" * 1_000_000], "too large to check"),
        ({"allOf": [{"uniqueItems": True}] * 1990}, [[1] * 70_000], "too large to check"),
        (
            {"$defs": {"A": {"const": [[1] * 40_000]}}, "allOf": [{"$ref": "#/$defs/A"}] * 1980},
            [[1] * 40_000],
            "too large",
        ),
    ],
)
def test_a_check_takes_a_bounded_number_of_steps(schema: dict[str, Any], value: object, message: str) -> None:
    check_schema(schema)
    with pytest.raises(ValueError, match=message):
        check_value(schema, value)


def test_errors_hold_no_copies_of_a_large_value() -> None:
    """Each branch that fits not has an error, which names the value."""
    schema = {"anyOf": [{"type": "integer", "minimum": number} for number in range(1990)]}
    tracemalloc.start()
    with pytest.raises(ValueError, match="too large to check"):
        check_value(schema, ["x" * 1_000_000])
    assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    tracemalloc.stop()


def test_a_pattern_that_would_take_python_an_age_is_checked_in_linear_time() -> None:
    schema = {"type": "string", "pattern": "a?a?a?a?a*a*a*a*a*a*a*a*b$"}
    check_schema(schema)
    with pytest.raises(ValueError, match="does not match"):
        check_value(schema, "a" * 10_000)
