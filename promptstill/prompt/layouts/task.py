"""What all candidates of a run share: the signature of the recipe, its fields, and the limits of a reply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import dspy
from pydantic import TypeAdapter, ValidationError

from promptstill.dialect import VLLM, Dialect
from promptstill.errors import UserError
from promptstill.prompt.fields import REASONING, Field

REASONING_TOKENS = 160
REASONING_CHARS = 480  # so that a constrained answer still fits into the reply


@dataclass(frozen=True)
class OwnPredictor:
    """The DSPy predictor that a recipe gave in place of a signature: what the baseline prompt shows of it.

    reasons: whether it is a `dspy.ChainOfThought`. in_program: whether it is one of several; then a candidate must be
    what `dspy.Predict` sends for the same fields, so that it can take the predictor's place.
    """

    demos: tuple[Mapping[str, Any], ...] = ()
    reasons: bool = False
    in_program: bool = False


@dataclass(frozen=True)
class Task:
    """What all candidates of a run share.

    max_tokens: of a reply, without the layout's markers and labels. single_line: whether a line end ends the reply.
    structured: whether the engine can constrain outputs to a grammar. markers: the model's (see `Prompt`).
    own: the predictor that stood where the signature does; None for a signature. dialect: what the endpoint takes.
    """

    signature: type[dspy.Signature]
    model: str
    max_tokens: int
    single_line: bool = True
    structured: bool = True
    markers: tuple[str, ...] = ()
    own: OwnPredictor | None = None
    dialect: Dialect = VLLM

    @cached_property
    def inputs(self) -> list[Field]:
        return [to_field(name, info) for name, info in self.signature.input_fields.items()]

    @cached_property
    def outputs(self) -> list[Field]:
        return [to_field(name, info) for name, info in self.signature.output_fields.items()]

    @property
    def in_program(self) -> bool:
        """Whether the prompt is one predictor's of a program."""
        return self.own is not None and self.own.in_program

    @property
    def can_reason(self) -> bool:
        """Whether a reasoning field can be added: the signature has none yet, and its fields may change."""
        return REASONING not in self.signature.output_fields and not self.in_program

    def reasoned(self) -> Task:
        """The task with a reasoning field before its outputs, as `dspy.ChainOfThought` has it."""
        field = dspy.OutputField(desc="one or two short sentences that lead to the answer", max_length=REASONING_CHARS)
        signature = self.signature.prepend(REASONING, field, type_=str)
        return replace(self, signature=signature, max_tokens=self.max_tokens + REASONING_TOKENS)


def to_field(name: str, info: Any) -> Field:
    """A signature's field, its type as a JSON schema. Raises `UserError` for a type that has none."""
    extra = info.json_schema_extra or {}
    desc = extra.get("desc", "")
    try:
        schema = TypeAdapter(info.rebuild_annotation()).json_schema()
    except Exception as error:  # pydantic has several unrelated errors for this
        raise UserError(
            f"The field {name} has the type {info.annotation}, which has no JSON form.",
            str(error),
            "Use str, int, float, bool, date, Literal, lists, optional values or pydantic models.",
        ) from error
    try:
        return Field(name=name, desc="" if desc == f"${{{name}}}" else desc, type=schema)
    except ValidationError as error:
        raise UserError(
            f"The field {name} cannot be part of a prompt.",
            f"{error.errors()[0]['msg']}.",
            "Change its type: best.json is read by others, so a type has bounds (docs/artifact.md).",
        ) from error
