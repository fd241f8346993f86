"""How a prompt's reply is sampled: the decoding half of a request."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from pydantic import Field as Attribute
from pydantic import field_validator, model_validator

from promptstill.dialect import VLLM, Dialect
from promptstill.prompt.fields import FrozenModel
from promptstill.prompt.schema import check_schema

MOST_TOKENS = 2**20
MOST_CHARACTERS = 2**18  # of a regex
MOST_BIASED = 1024  # tokens, or label texts
MOST_BIAS = 100.0  # what OpenAI's API and vLLM take
NO_BIAS: dict[str, dict[str, float]] = {"logit_bias": {}, "logit_bias_texts": {}}
Stop = Annotated[str, Attribute(min_length=1, max_length=200)]
TokenId = Annotated[str, Attribute(pattern=r"^(0|[1-9][0-9]{0,8})$")]
LabelText = Annotated[str, Attribute(max_length=2000)]
Bias = Annotated[float, Attribute(ge=-MOST_BIAS, le=MOST_BIAS, allow_inf_nan=False)]


class Decoding(FrozenModel):
    """The sampling parameters of a request; `structured` and `response_format` go to the engine as they are.

    A `stop` counts only after `min_tokens`: a small model often begins with a line end, which, as the stop of a
    one-line answer, would leave that answer empty. All of it is as vLLM takes it; `dialect` says what the endpoint
    takes in its place.

    logit_bias: of a calibrated prompt, what is added to the logits of tokens, by their ids in the vocabulary of the
    prompt's model. logit_bias_texts: what that means for each label, for a reader; it is not sent. Without a bias
    neither is written.
    """

    temperature: float = Attribute(default=0.0, ge=0, le=2)
    max_tokens: int = Attribute(ge=1, le=MOST_TOKENS)
    min_tokens: int = Attribute(default=0, ge=0, le=MOST_TOKENS)
    # pydantic copies this default; a factory would change the ids of prompts.
    stop: list[Stop] = Attribute(default=[], max_length=16)
    structured: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    dialect: Dialect = VLLM
    logit_bias: dict[TokenId, Bias] = Attribute(default={}, max_length=MOST_BIASED, exclude_if=operator.not_)
    logit_bias_texts: dict[LabelText, Bias] = Attribute(default={}, max_length=MOST_BIASED, exclude_if=operator.not_)

    @property
    def bias(self) -> dict[str, dict[str, float]]:
        """What a calibrated prompt has besides; empty mappings for any other."""
        return {"logit_bias": self.logit_bias, "logit_bias_texts": self.logit_bias_texts}

    def cut(self, text: str) -> str:
        """A reply up to the first stop, where the endpoint has not cut it there itself."""
        if not self.dialect.cuts_here:
            return text
        begin = len(text) - len(text.lstrip()) if self.min_tokens else 0
        places = [place for stop in self.stop if (place := text.find(stop, begin)) >= 0]
        return text[: min(places, default=len(text))]

    @model_validator(mode="after")
    def _texts_have_a_bias(self) -> Decoding:
        if self.logit_bias_texts and not self.logit_bias:
            raise ValueError("there is logit_bias_texts without the logit_bias that it explains")
        return self

    @field_validator("structured")
    @classmethod
    def _structured_is_known(cls, structured: dict[str, Any] | None) -> dict[str, Any] | None:
        if structured is not None:
            check_structured(structured)
        return structured

    @field_validator("response_format")
    @classmethod
    def _format_is_known(cls, form: dict[str, Any] | None) -> dict[str, Any] | None:
        if form is not None and form != {"type": "json_object"}:
            check_json_format(form)
        return form


def check_structured(structured: dict[str, Any]) -> None:
    """Refuse what is none of a regex, a choice and a JSON schema, or is too large. Raises `ValueError`."""
    match structured:
        case {"regex": str(regex), **rest} if not rest and 0 < len(regex) <= MOST_CHARACTERS:
            return
        case {"choice": [*texts], **rest} if not rest and texts and all(isinstance(text, str) for text in texts):
            return
        case {"json": dict(schema), **rest} if not rest:
            check_schema(schema)
        case _:
            raise ValueError("it is none of one regex, one choice of texts and one JSON schema")


def check_json_format(form: dict[str, Any]) -> None:
    """Refuse what is no named JSON schema. Raises `ValueError`."""
    match form:
        case {"type": "json_schema", "json_schema": {"name": str(), "schema": dict(schema), **inner}, **rest} if (
            not rest and (not inner or (inner.keys() == {"strict"} and isinstance(inner["strict"], bool)))
        ):
            check_schema(schema)
        case _:
            raise ValueError("it is neither json_object nor a named json_schema")
