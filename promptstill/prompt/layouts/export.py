"""A prompt as a `dspy.Predict`: its instruction, its fields with their types, and its fixed demos.

DSPy sends them in its own layout. A prompt that was found in that layout (`dspy-chat`) is sent as it was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import reduce
from operator import or_
from typing import Any, Literal

import dspy

from promptstill.prompt.fields import Field, closed_set, is_date
from promptstill.prompt.layouts.demos import read_demos
from promptstill.prompt.prompt import Prompt

PLAIN = {"integer": int, "number": float, "boolean": bool, "null": None, "string": str}


def to_predictor(prompt: Prompt) -> dspy.Predict:
    """See `Prompt.to_dspy`."""
    predictor = dspy.Predict(to_signature(prompt))
    names = [field.name for field in prompt.inputs]
    predictor.demos = [dspy.Example(**demo).with_inputs(*names) for demo in read_demos(prompt)]
    return predictor


def to_signature(prompt: Prompt) -> type[dspy.Signature]:
    """The signature that the prompt's fields were written from, or its like: a model of pydantic's is a `dict`."""
    fields = {one.name: (to_type(one), dspy.InputField(**described(one))) for one in prompt.inputs}
    fields |= {one.name: (to_type(one), dspy.OutputField(**described(one))) for one in prompt.outputs}
    signature: type[dspy.Signature] = dspy.Signature(fields, prompt.instruction)
    return signature


def described(field: Field) -> dict[str, str]:
    return {"desc": field.desc} if field.desc else {}


def to_type(field: Field) -> Any:
    """The Python type of a field's JSON schema."""
    return schema_type(field.type, field.type.get("$defs", {}))


def schema_type(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    """The Python type of a JSON schema; of an object `dict`, since its class is not in the prompt."""
    if "$ref" in schema:
        return schema_type(definitions.get(str(schema["$ref"]).rsplit("/", 1)[-1], {"type": "object"}), {})
    if "enum" in schema or "const" in schema:
        return Literal[tuple(closed_set(dict(schema)) or ())]
    if "anyOf" in schema:
        return reduce(or_, (schema_type(option, definitions) for option in schema["anyOf"]))
    if is_date(dict(schema)):
        return date
    if schema.get("type") == "array":
        return list[schema_type(schema.get("items", {}), definitions)]  # type: ignore[misc]  # the type is found here
    return PLAIN.get(str(schema.get("type")), dict[str, Any])
