"""Made-up inputs that fit a prompt: for the warm-up, and for the snippets that `serve` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from promptstill.prompt.prompt import Prompt

PLAIN_VALUES: dict[str, Any] = {"integer": 0, "number": 0.0, "boolean": True, "array": [], "null": None}
MOST_NESTED, MOST_VALUES = 16, 1_000  # references inside each other; values in one input


def sample_inputs(prompt: Prompt, text: str) -> dict[str, Any]:
    """A value of the right type for each input. A text input gets `text` and its own label."""
    return {
        field.name: f"{text} {field.label.lower()}"
        if field.is_text
        else sample_value(field.type, field.type.get("$defs", {}), iter(range(MOST_VALUES)))
        for field in prompt.inputs
    }


def sample_value(schema: Mapping[str, Any], definitions: Mapping[str, Any], left: Iterator[int], depth: int = 0) -> Any:
    """A small value for a JSON schema. Bounds and patterns are ignored; a type without end ends with None.

    left: has an element for each value that may still be made; a type can refer to itself in several places.
    """
    if next(left, None) is None:
        return None
    if "$ref" in schema:
        inner = definitions.get(schema["$ref"].rpartition("/")[2], {})
        return sample_value(inner, definitions, left, depth + 1) if depth < MOST_NESTED else None
    if "enum" in schema or "const" in schema:
        return schema["enum"][0] if "enum" in schema else schema["const"]
    if "anyOf" in schema:
        return sample_value(schema["anyOf"][0], definitions, left, depth)
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        names = schema.get("required", [])
        return {name: sample_value(properties.get(name, {}), definitions, left, depth) for name in names}
    return PLAIN_VALUES.get(schema.get("type", ""), "text")
