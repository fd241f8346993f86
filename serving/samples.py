"""Inputs that a prompt accepts: to warm it with, and to show in the snippets that `serve` prints."""

from __future__ import annotations

from typing import Any

from optimizer.prompt import Prompt

PLAIN: dict[str, Any] = {"integer": 0, "number": 0.0, "boolean": True, "array": [], "null": None}


def sample_inputs(prompt: Prompt, text: str) -> dict[str, Any]:
    """One value of its type for each input; text inputs get `text` before their name."""
    return {
        field.name: f"{text} {field.label.lower()}"
        if field.is_text
        else sample(field.type, field.type.get("$defs", {}))
        for field in prompt.inputs
    }


def sample(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """A value of a JSON schema, as small as it may be; bounds and patterns are not looked at."""
    if "$ref" in schema:
        return sample(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema or "const" in schema:
        return schema["enum"][0] if "enum" in schema else schema["const"]
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], definitions)
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        return {name: sample(properties[name], definitions) for name in schema.get("required", [])}
    return PLAIN.get(schema.get("type", ""), "text")
