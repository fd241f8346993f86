"""Made-up inputs that fit a prompt: for the warm-up, and for the snippets that `serve` prints."""

from __future__ import annotations

from typing import Any

from promptstill.prompt.prompt import Prompt

PLAIN_VALUES: dict[str, Any] = {"integer": 0, "number": 0.0, "boolean": True, "array": [], "null": None}


def sample_inputs(prompt: Prompt, text: str) -> dict[str, Any]:
    """A value of the right type for each input. A text input gets `text` and its own label."""
    return {
        field.name: f"{text} {field.label.lower()}"
        if field.is_text
        else sample_value(field.type, field.type.get("$defs", {}))
        for field in prompt.inputs
    }


def sample_value(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """A small value for a JSON schema. Bounds and patterns are ignored."""
    if "$ref" in schema:
        return sample_value(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema or "const" in schema:
        return schema["enum"][0] if "enum" in schema else schema["const"]
    if "anyOf" in schema:
        return sample_value(schema["anyOf"][0], definitions)
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        return {name: sample_value(properties[name], definitions) for name in schema.get("required", [])}
    return PLAIN_VALUES.get(schema.get("type", ""), "text")
