"""The JSON schemas of fields: which ones a prompt may have, and whether a value fits.

A schema may come with an artifact from elsewhere, and a value from a client. So a schema has only keywords whose cost
is known, refers to nothing outside itself, and its patterns run in linear time (by Rust's regex crate, through
pydantic); a value is checked up to a number of steps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from itertools import islice
from typing import Annotated, Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import SchemaError, best_match
from jsonschema.validators import extend
from pydantic import StringConstraints, TypeAdapter
from pydantic import ValidationError as Mismatch
from pydantic_core import SchemaError as PatternError
from referencing import Registry

from promptstill.files import canonical_json

MAX_SUBSCHEMAS, MAX_SCHEMA = 2_000, 2**20  # schemas in a schema; characters of its JSON
MAX_STEPS = 50_000  # up to half a second
CHARACTERS_PER_STEP = 100
MAX_PATTERN, MAX_PATTERN_COUNT = 200, 256  # characters; sum of the counts in braces
MAX_PATTERNS = 1_000  # characters and counts of all patterns in a type: each takes up to 2 ms to compile
MAX_PATTERN_TEXT = 10_000  # a longer text fits no pattern
MAX_MESSAGE = 400  # characters
# Keywords of JSON Schema 2020-12 that checks use; what no validator knows (title, examples, …) has no effect.
ALLOWED = {
    *("$ref", "allOf", "anyOf", "oneOf", "const", "enum", "type", "format", "pattern", "minLength", "maxLength"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("items", "prefixItems", "minItems", "maxItems", "uniqueItems"),
    *("properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties"),
}
NAMES_OF_SCHEMAS = {"$id", "$schema", "$anchor", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary"}
REFUSED = (set(Draft202012Validator.VALIDATORS) - ALLOWED) | NAMES_OF_SCHEMAS
LISTS, MAPS, SINGLE = ("allOf", "anyOf", "oneOf", "prefixItems"), ("properties", "$defs"), ("items", "propertyNames")
DEFINITIONS = "#/$defs/"
BRANCHES = ("$ref", "allOf", "anyOf", "oneOf")  # they cost more than other keywords, and one value can pass many
WHOLE = ("const", "enum", "uniqueItems")  # they look at all that is inside a value

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]
_steps: ContextVar[list[int]] = ContextVar("steps")


def check_schema(schema: Mapping[str, Any]) -> None:
    """Refuse a schema that is none, or one that a prompt may not have. Raises `ValueError`."""
    check_schema_text(canonical_json(schema))


@lru_cache(maxsize=256)
def check_schema_text(text: str) -> None:
    """`check_schema` of its JSON, once for equal ones: it takes milliseconds."""
    schema, patterns = json.loads(text), set()
    for count, sub in enumerate(subschemas(schema)):
        if count == MAX_SUBSCHEMAS or len(text) > MAX_SCHEMA:
            raise ValueError(f"the type has more than {MAX_SUBSCHEMAS:,} parts or {MAX_SCHEMA:,} characters")
        check_keywords(sub, schema)
        if "pattern" in sub:
            patterns.add(sub["pattern"])
            check_patterns(patterns)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"the type is no JSON schema: {error.message[:200]}") from error


def subschemas(schema: object) -> Iterator[Mapping[str, Any]]:
    """The schema and all those inside it. Raises `ValueError` where one is no object."""
    waiting: list[Any] = [schema]
    while waiting:
        sub = waiting.pop()
        if not isinstance(sub, dict):
            raise ValueError(f"{str(sub)[:40]} is no schema")
        yield sub
        waiting += [inner for key in LISTS for inner in as_kind(sub, key, list)]
        waiting += [inner for key in MAPS for inner in as_kind(sub, key, dict).values()]
        waiting += [sub[key] for key in SINGLE if key in sub]
        if isinstance(sub.get("additionalProperties", True), dict):
            waiting.append(sub["additionalProperties"])


def as_kind(schema: Mapping[str, Any], key: str, kind: type) -> Any:
    """The keyword's value, empty where it is absent. Raises `ValueError` where it is not of that kind."""
    value = schema.get(key, kind())
    if not isinstance(value, kind):
        raise ValueError(f"{key} is no {'list' if kind is list else 'object'}")
    return value


def check_keywords(schema: Mapping[str, Any], root: Mapping[str, Any]) -> None:
    """Refuse keywords, references and patterns whose cost is not known. Raises `ValueError`."""
    refused = sorted(REFUSED & schema.keys())
    if refused:
        raise ValueError(f"a type may not have {refused[0]}")
    target = schema.get("$ref", DEFINITIONS)
    if not isinstance(target, str) or not target.startswith(DEFINITIONS):
        raise ValueError(f"a type may not refer to {str(target)[:80]}, only to {DEFINITIONS}…")
    if "$ref" in schema and target.removeprefix(DEFINITIONS) not in as_kind(root, "$defs", dict):
        raise ValueError(f"the type has no {target[:80]}")
    if not isinstance(schema.get("type", ""), str):
        raise ValueError("a type is one word; several stand in anyOf")
    if not all(isinstance(name, str) for name in as_kind(schema, "required", list)):
        raise ValueError("required names what is no text")
    if "enum" in schema and not schema["enum"]:
        raise ValueError("an enum is empty")
    if not isinstance(schema.get("pattern", ""), str):
        raise ValueError("a pattern is no text")


def check_patterns(patterns: Collection[str]) -> None:
    """Refuse patterns that take long to compile together, before they are compiled. Raises `ValueError`."""
    if sum(len(pattern) + min(counts_of(pattern), MAX_PATTERN_COUNT) for pattern in patterns) > MAX_PATTERNS:
        raise ValueError(f"the type has patterns of more than {MAX_PATTERNS:,} characters and counts")
    for pattern in patterns:
        pattern_of(pattern)


def without_sets(pattern: str) -> str:
    """A pattern with an x in place of each escape and each set of characters."""
    return re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "x", pattern)


def counts_of(pattern: str) -> int:
    """The sum of the counts in braces."""
    braces = " ".join(re.findall(r"\{[0-9, ]*\}", without_sets(pattern)))
    return sum(int(number[:6]) for number in re.findall("[0-9]+", braces))


@lru_cache(maxsize=1024)
def pattern_of(pattern: str) -> TypeAdapter[str]:
    """A pattern that runs in linear time. Raises `ValueError` for any other: a group that repeats, lookaround, …"""
    is_simple = not re.search(r"\)[*+{]|\(\?(?!:)", without_sets(pattern))
    try:
        if not is_simple or len(pattern) > MAX_PATTERN or counts_of(pattern) > MAX_PATTERN_COUNT:
            raise ValueError("it has a group that repeats, looks around, or is too long")
        return TypeAdapter(Annotated[str, StringConstraints(pattern=pattern)])
    except (ValueError, PatternError) as error:
        raise ValueError(f"a type may not have the pattern {pattern[:80]!r}: {str(error)[:200]}") from error


def check_value(schema: Mapping[str, Any], value: object) -> None:
    """Refuse a value that does not fit the schema, or that takes too many steps to check. Raises `ValueError`."""
    if weight_of(value) > MAX_STEPS:
        raise ValueError("too large to check")
    token = _steps.set([MAX_STEPS])
    try:
        error = best_match(islice(CountingValidator(schema, registry=Registry()).iter_errors(value), 20))
    except (RecursionError, ArithmeticError) as cause:
        raise ValueError("nested too deeply" if isinstance(cause, RecursionError) else "too large a number") from cause
    finally:
        _steps.reset(token)
    if error is not None:
        raise ValueError(error.message)


def counting(name: str, check: Keyword) -> Keyword:
    """The keyword's check; it takes steps, one for each part of its value and of the instance, and for its errors."""
    cost, weight = 20 if name in BRANCHES else 1, weight_of if name in WHOLE else own_weight

    def count(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        spend(cost + weight(value) + weight(instance))
        for error in check(validator, value, instance, schema) or ():
            spend(len(error.message) // CHARACTERS_PER_STEP)  # it holds the whole instance
            error.message = error.message[:MAX_MESSAGE]
            yield error

    return count


def spend(steps: int) -> None:
    """Take steps of those that the value's check has left. Raises `ValueError` where there are too few."""
    left = _steps.get()
    left[0] -= steps
    if left[0] < 0:
        raise ValueError("too large to check")


def own_weight(value: object) -> int:
    """The number of a value's own parts."""
    return len(value) if isinstance(value, list | dict) else 0


def weight_of(value: object, most: int = MAX_STEPS) -> int:
    """The number of parts inside a value, at every depth; a long text counts as several. Above `most` it stops."""
    waiting, weight = [value], 0
    while waiting and weight <= most:
        one = waiting.pop()
        weight += 1 + (len(one) // CHARACTERS_PER_STEP if isinstance(one, str) else 0)
        waiting += [*one, *one.values()] if isinstance(one, dict) else one if isinstance(one, list) else ()
    return weight


def check_pattern(validator: Any, pattern: str, instance: object, schema: object) -> Iterator[ValidationError]:
    """JSON Schema's `pattern`."""
    if not isinstance(instance, str):
        return
    spend(len(instance) // 10)
    try:
        if len(instance) > MAX_PATTERN_TEXT:
            raise ValueError("too long a text")
        pattern_of(pattern).validate_python(instance)
    except (ValueError, Mismatch):
        yield ValidationError(f"{instance[:80]!r} does not match {pattern!r}")


def check_unique(validator: Any, wanted: bool, instance: object, schema: object) -> Iterator[ValidationError]:
    """JSON Schema's `uniqueItems`, in linear time."""
    if wanted and isinstance(instance, list) and len(set(map(canonical_json, instance))) < len(instance):
        yield ValidationError("it has non-unique elements")


OWN_KEYWORDS: dict[str, Keyword] = {"pattern": check_pattern, "uniqueItems": check_unique}
CountingValidator = extend(
    Draft202012Validator,
    {name: counting(name, OWN_KEYWORDS.get(name, check)) for name, check in Draft202012Validator.VALIDATORS.items()},
)
