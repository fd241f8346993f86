"""A client's chat request for a variant, and the engine's request made of it.

The client sends the recipe's inputs and nothing of the prompt; decoding comes from the artifact. What a client may set
is named in SETTABLE; everything else is refused by name, unless it repeats what the artifact says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

from optimizer.errors import UserError
from serving.asgi import Refusal
from serving.gate import read_json
from serving.variants import Variant

INT64 = 2**63 - 1
MOST_TOKENS = 2**31 - 1
MOST_CHOICES = 128
DECODING = ("temperature", "stop", "structured_outputs", "response_format")  # may be repeated, not changed
Check = Callable[[Any], bool]


@dataclass(frozen=True)
class Ask:
    """One request, understood: `body` is the engine's; `usage` whether the client wants a stream's token counts."""

    variant: Variant
    inputs: Mapping[str, Any]
    body: bytes
    stream: bool
    usage: bool
    parsed: bool


def whole(low: int, high: int) -> Check:
    """A check for whole numbers; booleans are none."""
    return lambda value: type(value) is int and low <= value <= high


def flag(value: object) -> bool:
    return isinstance(value, bool)


def usage_option(value: object) -> bool:
    return isinstance(value, dict) and set(value) <= {"include_usage"} and all(map(flag, value.values()))


SETTABLE: dict[str, tuple[Check, str]] = {
    "max_tokens": (whole(1, MOST_TOKENS), "a whole number from 1"),
    "max_completion_tokens": (whole(1, MOST_TOKENS), "a whole number from 1"),
    "n": (whole(1, MOST_CHOICES), f"a whole number from 1 to {MOST_CHOICES}"),
    "seed": (whole(-INT64 - 1, INT64), "a whole number of 64 bits"),
    "logprobs": (flag, "true or false"),
    "top_logprobs": (whole(0, 20), "a whole number from 0 to 20"),
    "stream": (flag, "true or false"),
    "stream_options": (usage_option, '{"include_usage": true} or {"include_usage": false}'),
    "user": (lambda value: isinstance(value, str), "a string"),
    "parsed": (flag, "true or false"),
}


class Desk:
    """Reads the requests for one variant; holds what need not be made anew for each."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.fields = {field.name: field for field in variant.prompt.inputs}
        self._validators: dict[str, Validator] = {
            name: validator_for(field.type)(field.type) for name, field in self.fields.items() if not field.is_text
        }

    @property
    def expects(self) -> str:
        """What a request's messages must be, for messages to the client."""
        names = ", ".join(f'"{name}": …' for name in self.fields)
        only = next(iter(self.fields.values()))
        text = f", or the text of {only.name}" if len(self.fields) == 1 and only.is_text else ""
        return f"one user message whose content is the JSON object {{{names}}}{text}"

    def read(self, request: dict[str, Any]) -> Ask:
        """Raises `Refusal` (400) that names what is wrong."""
        inputs = self.inputs(request.get("messages"))
        own = self.variant.prompt.request(inputs)
        chosen = settings(request, own, self.variant.name)
        parsed, stream = chosen.pop("parsed", False), chosen.get("stream", False)
        if parsed and stream:
            raise Refusal(400, "invalid", "parsed needs the whole reply: leave stream out, or parsed.", "parsed")
        usage = chosen.pop("stream_options", {}).get("include_usage", False)
        body = own | {"model": self.variant.served_as} | chosen
        if stream:
            body["stream_options"] = {"include_usage": True}  # for the metrics; not shown unless asked for
        try:
            encoded = json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise Refusal(400, "invalid", "The request holds half a surrogate pair, which is no text.") from error
        return Ask(self.variant, inputs, encoded, stream, usage, parsed)

    def inputs(self, messages: object) -> dict[str, Any]:
        """The recipe's inputs in the one user message."""
        if not isinstance(messages, list) or len(messages) != 1 or not isinstance(messages[0], dict):
            raise self._unexpected("earlier turns and system messages belong to the prompt, which is on the server")
        message = messages[0]
        if message.get("role") != "user" or not message.keys() <= {"role", "content", "name"}:
            raise self._unexpected("the message must have the role user, and content only")
        inputs = self._decoded(text_of(message.get("content")))
        try:
            self.variant.prompt.check(inputs)
            for name, validator in self._validators.items():
                validator.validate(inputs[name])
        except UserError as error:
            raise Refusal(
                400, "invalid", f"{error.what} {self.variant.name} takes {self.expects}.", "messages"
            ) from error
        except (jsonschema.ValidationError, RecursionError) as error:
            why = getattr(error, "message", "nested too deeply")[:200]
            raise Refusal(400, "invalid", f"Input {name}: {why}.", "messages") from error
        return inputs

    def _decoded(self, text: str | None) -> dict[str, Any]:
        if text is None:
            raise self._unexpected("the content must be text")
        try:
            value = read_json(text)
        except ValueError as error:
            value, why = None, f"the content is not JSON: {error}"
        else:
            why = "the content is no JSON object"
        fields = list(self.fields.values())
        alone = len(fields) == 1 and fields[0].is_text
        if isinstance(value, dict) and (not alone or value.keys() == self.fields.keys()):
            return value
        if alone:
            return {fields[0].name: text}
        raise self._unexpected(why)

    def _unexpected(self, why: str) -> Refusal:
        return Refusal(400, "invalid", f"{self.variant.name} takes {self.expects}; {why}.", "messages")


def text_of(content: object) -> str | None:
    """A message's text, also where it comes as a list of text parts; None for anything else."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        whole_text = len(parts) == len(content) > 0 and all(isinstance(part, str) for part in parts)
        return "".join(map(str, parts)) if whole_text else None
    return content if isinstance(content, str) else None


def settings(request: Mapping[str, Any], own: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the client sets, checked. A null is as good as absent, and so is a repetition of the artifact's decoding."""
    chosen: dict[str, Any] = {}
    for key, value in request.items():
        if key in ("model", "messages") or value is None or (key in DECODING and own.get(key) == value):
            continue
        if key not in SETTABLE:
            may = ", ".join(SETTABLE)
            raise Refusal(400, "invalid", f"{key[:80]!r} is fixed for {name}. A client may set {may}.", key[:80])
        check, what = SETTABLE[key]
        if not check(value):
            raise Refusal(400, "invalid", f"{key} must be {what}.", key)
        chosen[key] = value
    limit = chosen.pop("max_completion_tokens", None)
    return chosen | ({"max_tokens": limit} if limit else {})
