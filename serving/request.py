"""A client's chat request for a variant, and the engine's request that is made of it.

The client sends the recipe's inputs and no part of the prompt. Decoding comes from the artifact. SETTABLE lists the
fields that a client may set. Any other field is refused by name, unless it repeats the artifact's own value.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from promptstill.errors import UserError
from promptstill.strict_json import parse_json
from serving.asgi import Refusal
from serving.variants import Variant

INT64 = 2**63 - 1
INLINE_BYTES = 16 * 1024  # the largest body that is read without a thread: a fraction of a millisecond
LENGTH_FIELDS = ("max_tokens", "max_completion_tokens")
# What a client may repeat, but not change.
DECODING_FIELDS = ("temperature", "stop", "structured_outputs", "response_format", "logit_bias")
Check = Callable[[Any], bool]
Form = Literal["text", "raw", "parsed"]


@dataclass(frozen=True)
class VariantRequest:
    """One checked request.

    `body` is the engine's request. `wants_usage`: the client wants a stream's token counts. `form`: what it gets: the
    outputs as one text, the model's own text, or typed outputs.
    """

    variant: Variant
    inputs: Mapping[str, Any]
    body: bytes
    stream: bool
    wants_usage: bool
    form: Form


def whole_number(low: int, high: float = math.inf) -> Check:
    """A check for whole numbers in this range. A boolean is not a number."""
    return lambda value: type(value) is int and low <= value <= high


def is_flag(value: object) -> bool:
    return isinstance(value, bool)


def is_usage_option(value: object) -> bool:
    return isinstance(value, dict) and set(value) <= {"include_usage"} and all(map(is_flag, value.values()))


SETTABLE: dict[str, tuple[Check, str]] = {
    "max_tokens": (whole_number(1), "a whole number from 1"),
    "max_completion_tokens": (whole_number(1), "a whole number from 1"),
    "n": (whole_number(1), "a whole number from 1"),  # Admission has the upper limit, which holds for every model
    "seed": (whole_number(-INT64 - 1, INT64), "a whole number of 64 bits"),
    "logprobs": (is_flag, "true or false"),
    "top_logprobs": (whole_number(0, 20), "a whole number from 0 to 20"),
    "stream": (is_flag, "true or false"),
    "stream_options": (is_usage_option, '{"include_usage": true} or {"include_usage": false}'),
    "user": (lambda value: isinstance(value, str), "a string"),
    "raw": (is_flag, "true or false"),
    "parsed": (is_flag, "true or false"),
}


class RequestReader:
    """Reads the requests for one variant."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.fields = {field.name: field for field in variant.prompt.inputs}
        texts = [name for name, field in self.fields.items() if field.is_text]
        self._plain_text_field = texts[0] if texts and len(self.fields) == 1 else None

    @property
    def expected_message(self) -> str:
        """What a client must send, as part of a message to the client."""
        names = ", ".join(f'"{name}": …' for name in self.fields)
        text = f", or the text of {self._plain_text_field}" if self._plain_text_field else ""
        return f"one user message whose content is the JSON object {{{names}}}{text}"

    def is_slow(self, size: int) -> bool:
        """Whether reading a body of `size` bytes can take long: of a large one, or of any where demos are picked."""
        return self.variant.prompt.nearest is not None or size > INLINE_BYTES

    def read(self, request: dict[str, Any]) -> VariantRequest:
        """Check a request and make the engine's. Raises `Refusal` (400) that names what is wrong."""
        inputs = self._read_inputs(request.get("messages"))
        prompt_request = self.variant.prompt.request(inputs)
        settings = client_settings(request, prompt_request, self.variant.name)
        form, stream = take_form(settings), settings.get("stream", False)
        wants_usage = settings.pop("stream_options", {}).get("include_usage", False)
        body = prompt_request | {"model": self.variant.engine_name} | settings
        if stream:
            body["stream_options"] = {"include_usage": True}  # for the metrics; a client gets it only on request
        try:
            encoded = json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            message = "The request holds half of a surrogate pair, which is not valid text."
            raise Refusal(400, "invalid", message) from error
        return VariantRequest(self.variant, inputs, encoded, stream, wants_usage, form)

    def _read_inputs(self, messages: object) -> dict[str, Any]:
        """The recipe's inputs, from the one user message."""
        if not isinstance(messages, list) or len(messages) != 1 or not isinstance(messages[0], dict):
            raise self._refusal("system messages and earlier turns are part of the prompt, which is on the server")
        message = messages[0]
        if message.get("role") != "user" or not message.keys() <= {"role", "content", "name"}:
            raise self._refusal("the message must have the role user, and content only")
        inputs = self._decode(text_content(message.get("content")))
        try:
            self.variant.prompt.check_inputs(inputs)
        except UserError as error:
            text = f"{error.what} {self.variant.name} takes {self.expected_message}."
            raise Refusal(400, "invalid", text, "messages") from error
        self._check_types(inputs)
        return inputs

    def _check_types(self, inputs: Mapping[str, Any]) -> None:
        for name, field in self.fields.items():
            try:
                field.check(inputs[name])
            except ValueError as error:
                raise Refusal(400, "invalid", f"Input {name}: {str(error)[:200]}.", "messages") from error

    def _decode(self, text: str | None) -> dict[str, Any]:
        """The inputs in a message's text: a JSON object, or the text itself where the prompt has one text input."""
        if text is None:
            raise self._refusal("the content must be text")
        try:
            value = parse_json(text)
        except ValueError as error:
            value, why = None, f"the content is not JSON: {error}"
        else:
            why = "the content is not a JSON object"
        plain = self._plain_text_field
        if isinstance(value, dict) and (plain is None or value.keys() == self.fields.keys()):
            return value
        if plain is None:
            raise self._refusal(why)
        if isinstance(value, dict) and len(value) == 1:
            self._check_spelling(next(iter(value)), plain)
        return {plain: text}

    def _check_spelling(self, key: str, field: str) -> None:
        """Refuse an object whose one key nearly is the field's name: as a text it would be answered, and wrongly."""
        if difflib.get_close_matches(field.casefold(), [key.casefold()]):
            message = f"Input {key[:80]!r}: unknown. Did you mean {field}? {self.variant.name} takes"
            raise Refusal(400, "invalid", f"{message} {self.expected_message}.", "messages")

    def _refusal(self, why: str) -> Refusal:
        return Refusal(400, "invalid", f"{self.variant.name} takes {self.expected_message}; {why}.", "messages")


def text_content(content: object) -> str | None:
    """A message's text, also from a list of text parts. None for anything else."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        is_text = len(parts) == len(content) > 0 and all(isinstance(part, str) for part in parts)
        return "".join(map(str, parts)) if is_text else None
    return content if isinstance(content, str) else None


def client_settings(request: Mapping[str, Any], prompt_request: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The fields that the client sets, checked. Nulls and repetitions of the artifact's decoding are ignored."""
    settings: dict[str, Any] = {}
    for key, value in request.items():
        is_repeated = key in DECODING_FIELDS and prompt_request.get(key) == value
        if key in ("model", "messages") or value is None or is_repeated:
            continue
        if key not in SETTABLE:
            allowed = ", ".join(SETTABLE)
            raise Refusal(400, "invalid", f"{key[:80]!r} is fixed for {name}. A client may set {allowed}.", key[:80])
        is_valid, expected = SETTABLE[key]
        if not is_valid(value):
            raise Refusal(400, "invalid", f"{key} must be {expected}.", key)
        settings[key] = value
    check_length(settings, prompt_request["max_tokens"], name)
    length = settings.pop("max_completion_tokens", None)
    return settings | ({"max_tokens": length} if length else {})


def take_form(settings: dict[str, Any]) -> Form:
    """The form of the answer that the client's settings ask for, taken out of them. Raises `Refusal`."""
    raw, parsed = settings.pop("raw", False), settings.pop("parsed", False)
    if raw and parsed:
        message = "raw and parsed are two forms of the answer. Leave one of them out."
        raise Refusal(400, "invalid", message, "raw")
    if parsed and settings.get("stream"):
        message = "parsed needs the whole reply, so it cannot be used with stream. Leave one of them out."
        raise Refusal(400, "invalid", message, "parsed")
    if settings.get("logprobs") and not raw:
        message = "logprobs belong to the model's own text. Send raw: true with them, or leave them out."
        raise Refusal(400, "invalid", message, "logprobs")
    return "raw" if raw else "parsed" if parsed else "text"


def check_length(settings: Mapping[str, Any], limit: int, name: str) -> None:
    """Refuse replies longer than the artifact's own, which would cost what nobody has measured. Raises `Refusal`."""
    for key in LENGTH_FIELDS:
        if settings.get(key, 0) > limit:
            raise Refusal(400, "invalid", f"{key} must be at most {limit}, the limit of {name}.", key)
