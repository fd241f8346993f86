"""The engine's reply as the client gets it: with the variant's name and the artifact's id, parsed on request."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from promptstill.errors import ReplyError
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
    if request.wants_parsed and problems and len(problems) == len(reply["choices"]):
        raise Refusal(422, "unparsed", f"The reply of {request.variant.name} does not parse: {problems[0]}.")
    return encode(reply)


def set_names(request: VariantRequest, reply: dict[str, Any]) -> None:
    """Put the variant's name and fingerprint into a reply or chunk, in place of the engine's."""
    reply |= {"model": request.variant.name, "system_fingerprint": request.variant.fingerprint}


def encode(reply: dict[str, Any]) -> bytes:
    return encode_json(reply, separators=(",", ":"))


def parse_choice(request: VariantRequest, choice: dict[str, Any]) -> str | None:
    """Why a choice cannot be parsed, or None. Where the client wants parsed outputs, they become its content."""
    message = choice["message"]
    try:
        outputs = request.variant.prompt.parse(message.get("content") or "")
    except ReplyError as error:
        if request.wants_parsed:
            message |= {"content": None, "refusal": str(error)}
        return str(error)
    if request.wants_parsed:
        message["content"] = encode_json(outputs).decode()
    return None


class ClientStream:
    """Turns the engine's server-sent events into the client's, in order.

    Each event gets the variant's name. The event of token counts is left out unless the client wants it.
    """

    def __init__(self, request: VariantRequest, usage: Usage) -> None:
        self.request, self.usage, self.failed = request, usage, False
        self._rest = b""
        self._texts: dict[int, list[str]] = defaultdict(list)

    def feed(self, data: bytes) -> bytes:
        """The client's bytes for the engine's. An incomplete event waits for its end."""
        *events, self._rest = (self._rest + data).split(b"\n\n")
        converted = [self._convert(event) for event in events]
        return b"".join(event + b"\n\n" for event in converted if event is not None)

    def close(self) -> bytes:
        """The bytes that are left at the end. Counts the choices that could not be parsed."""
        for texts in self._texts.values() if not self.failed else ():
            try:
                self.request.variant.prompt.parse("".join(texts))
            except ReplyError:
                self.usage.unparsed += 1
        return self._rest

    def _convert(self, event: bytes) -> bytes | None:
        if not event.startswith(b"data: {"):
            return event
        chunk = json.loads(event.removeprefix(b"data: "))
        if "error" in chunk:
            self.failed = True
            return event
        for choice in chunk["choices"]:
            self._texts[choice["index"]].append(choice.get("delta", {}).get("content") or "")
            self.failed |= choice.get("finish_reason") == "abort"
        if chunk.get("usage"):
            self.usage.read(chunk["usage"])
            if not self.request.wants_usage:
                return None
        set_names(self.request, chunk)
        return b"data: " + encode(chunk)


def stopping_refusal() -> Refusal:
    return Refusal(503, "unavailable", "This server is stopping. Ask again in a few seconds.")


def dead_engine_refusal() -> Refusal:
    return Refusal(503, "engine", "The engine behind this server has died. It takes no more requests.")
