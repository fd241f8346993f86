"""The engine's reply as the client gets it: with the variant's name and the artifact's id, in the form it asks for.

The form is the same whatever the variant's layout: the outputs as one text, unless the client asks for the model's own
text (`raw`) or for typed outputs (`parsed`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptstill.errors import ReplyError
from promptstill.prompt.fields import REASONING
from promptstill.prompt.growing import growing_value
from serving.asgi import Refusal, encode_json
from serving.request import VariantRequest

DEAD_ENGINE_TEXT = b"EngineCore encountered an issue"


@dataclass
class Usage:
    """Token counts of one exchange; `unparsed` counts the choices that could not be parsed."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    unparsed: int = 0

    def read(self, usage: dict[str, Any] | None) -> None:
        """Take the counts from OpenAI's usage object."""
        usage = usage or {}
        details = usage.get("prompt_tokens_details") or {}
        self.prompt_tokens = usage.get("prompt_tokens") or 0
        self.cached_tokens = details.get("cached_tokens") or 0
        self.completion_tokens = usage.get("completion_tokens") or 0


def client_reply(request: VariantRequest, body: bytes, usage: Usage) -> bytes:
    """A chat completion for the client.

    Raises `Refusal`: 503 where the engine broke off, 422 where parsed outputs are wanted and no choice can be parsed.
    """
    reply = json.loads(body)
    usage.read(reply.get("usage"))
    set_names(request, reply)
    if any(choice.get("finish_reason") == "abort" for choice in reply["choices"]):
        raise stopping_refusal()
    problems = [problem for choice in reply["choices"] if (problem := parse_choice(request, choice)) is not None]
    usage.unparsed = len(problems)
    if request.form == "parsed" and problems and len(problems) == len(reply["choices"]):
        raise Refusal(422, "unparsed", f"The reply of {request.variant.name} does not parse: {problems[0]}.")
    return encode(reply)


def set_names(request: VariantRequest, reply: dict[str, Any]) -> None:
    """Put the variant's name and fingerprint into a reply or chunk, in place of the engine's."""
    reply |= {"model": request.variant.name, "system_fingerprint": request.variant.fingerprint}


def encode(reply: object) -> bytes:
    return encode_json(reply, separators=(",", ":"))


def parse_choice(request: VariantRequest, choice: dict[str, Any]) -> str | None:
    """Why a choice cannot be parsed, or None. Its content becomes what the client asks for."""
    message = choice["message"]
    try:
        outputs = request.variant.prompt.parse(message.get("content") or "")
    except ReplyError as error:
        if request.form == "parsed":
            message |= {"content": None, "refusal": str(error)}
        return str(error)
    if request.form == "parsed":
        message["content"] = encode_json(outputs).decode()
    elif request.form == "text":
        message["content"] = outputs_text(outputs)
    return None


def outputs_text(outputs: Mapping[str, Any]) -> str:
    """The value of a single output: a string as it is, all else as JSON. Several outputs are one JSON object.

    Without reasoning, where there is an answer too: the search may add it to a prompt, and a student has none.
    """
    answers = {name: value for name, value in outputs.items() if name != REASONING} or outputs
    value = next(iter(answers.values())) if len(answers) == 1 else answers
    return value if isinstance(value, str) else encode(value).decode()


class ChoiceStream:
    """One choice of a stream. `problem` is why it cannot be parsed: None before its end, and where it can be."""

    def __init__(self, request: VariantRequest) -> None:
        self.request, self.ended = request, False
        self.problem: str | None = None
        self._value = growing_value(request.variant.prompt)
        self._pieces: list[str] = []
        self._sent = 0  # characters

    def convert(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        """Put the client's text in place of the engine's. Returns what must be sent before the choice that ends it."""
        delta, reason = choice.get("delta") or {}, choice.get("finish_reason")
        piece = delta.get("content") or ""
        self._pieces.append(piece)
        if self.request.form == "raw":
            return None
        text = self._value.feed(piece) if self._value else ""
        self._sent += len(text)
        if reason and reason != "abort":
            text += self.end()
        if piece:
            delta["content"] = "" if reason else text
        rest = {"index": choice["index"], "delta": {"content": text}, "logprobs": None, "finish_reason": None}
        return rest if reason and text else None

    def end(self) -> str:
        """The text that is left, once the whole reply is there."""
        text, self.ended = "".join(self._pieces), True
        try:
            text = outputs_text(self.request.variant.prompt.parse(text))
        except ReplyError as error:
            self.problem = str(error)
        return text[self._sent :]


class ClientStream:
    """Turns the engine's server-sent events into the client's, in order.

    Each event gets the variant's name. An event that would say nothing is left out, and that of token counts unless the
    client wants it.
    """

    def __init__(self, request: VariantRequest, usage: Usage) -> None:
        self.request, self.usage, self.failed = request, usage, False
        self._rest = b""
        self._choices: dict[int, ChoiceStream] = {}

    def feed(self, data: bytes) -> bytes:
        """The client's bytes for the engine's. An incomplete event waits for its end."""
        *events, self._rest = (self._rest + data).split(b"\n\n")
        return b"".join(converted + b"\n\n" for event in events for converted in self._convert(event))

    def close(self) -> bytes:
        """The bytes that are left at the end. Counts the choices that could not be parsed."""
        for choice in self._choices.values() if not self.failed else ():
            if not choice.ended:
                choice.end()
            self.usage.unparsed += choice.problem is not None
        return self._rest

    def _convert(self, event: bytes) -> list[bytes]:
        if not event.startswith(b"data: {"):
            return [event]
        chunk = json.loads(event.removeprefix(b"data: "))
        if "error" in chunk:
            self.failed = True
            return [event]
        rests = [rest for choice in chunk["choices"] if (rest := self._convert_choice(choice))]
        if chunk.get("usage"):
            self.usage.read(chunk["usage"])
            if not self.request.wants_usage:
                return []
        set_names(self.request, chunk)
        chunks = [chunk | {"choices": rests}] if rests else []
        chunks += [chunk] if self.request.form == "raw" or says_something(chunk) else []
        return [b"data: " + encode(one) for one in chunks]

    def _convert_choice(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        self.failed |= choice.get("finish_reason") == "abort"
        stream = self._choices.get(choice["index"])
        if stream is None:
            stream = self._choices[choice["index"]] = ChoiceStream(self.request)
        return stream.convert(choice)


def says_something(chunk: Mapping[str, Any]) -> bool:
    """Whether a chunk has a role, text or an end for one of its choices, or no choice at all, as that of the counts."""
    choices = chunk["choices"]
    return not choices or any(one.get("finish_reason") or any((one.get("delta") or {}).values()) for one in choices)


def stopping_refusal() -> Refusal:
    return Refusal(503, "unavailable", "This server is stopping. Ask again in a few seconds.")


def dead_engine_refusal() -> Refusal:
    return Refusal(503, "engine", "The engine behind this server has died. It takes no more requests.")
