"""The engine's reply as the client gets it: under the variant's name, with the artifact's id, parsed on request."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from optimizer.errors import ReplyError
from serving.asgi import Refusal
from serving.chat import Ask

DONE = b"data: [DONE]"
DEAD_ENGINE = b"EngineCore encountered an issue"


@dataclass
class Usage:
    """Tokens of one exchange; `unparsed` counts choices that the prompt's reader refused."""

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


def whole_reply(ask: Ask, body: bytes, usage: Usage) -> bytes:
    """A chat completion for the client. Raises `Refusal`: 503 where the engine broke off, 422 where nothing parses."""
    reply = json.loads(body)
    usage.read(reply.get("usage"))
    reply |= {"model": ask.variant.name, "system_fingerprint": ask.variant.fingerprint}
    if any(choice.get("finish_reason") == "abort" for choice in reply["choices"]):
        raise stopping()
    problems = [problem for choice in reply["choices"] if (problem := parse_choice(ask, choice)) is not None]
    usage.unparsed = len(problems)
    if ask.parsed and problems and len(problems) == len(reply["choices"]):
        raise Refusal(422, "unparsed", f"The reply of {ask.variant.name} does not parse: {problems[0]}.")
    return json.dumps(reply, ensure_ascii=False, separators=(",", ":")).encode()


def parse_choice(ask: Ask, choice: dict[str, Any]) -> str | None:
    """Why a choice's reply does not parse, or None. Where outputs are asked for, they become its content."""
    message = choice["message"]
    try:
        outputs = ask.variant.prompt.parse(message.get("content") or "")
    except ReplyError as error:
        if ask.parsed:
            message |= {"content": None, "refusal": str(error)}
        return str(error)
    if ask.parsed:
        message["content"] = json.dumps(outputs, ensure_ascii=False)
    return None


class Stream:
    """Server-sent events on their way through: renamed, in order, none held back but the counts nobody asked for."""

    def __init__(self, ask: Ask, usage: Usage) -> None:
        self.ask, self.usage, self.failed = ask, usage, False
        self._rest = b""
        self._texts: dict[int, list[str]] = defaultdict(list)

    def feed(self, data: bytes) -> bytes:
        """The client's bytes for the engine's; an event that is not whole yet waits for its end."""
        *events, self._rest = (self._rest + data).split(b"\n\n")
        return b"".join(shown + b"\n\n" for event in events if (shown := self._event(event)) is not None)

    def close(self) -> bytes:
        """What is left at the end; counts the replies that do not parse."""
        for texts in self._texts.values() if not self.failed else ():
            try:
                self.ask.variant.prompt.parse("".join(texts))
            except ReplyError:
                self.usage.unparsed += 1
        return self._rest

    def _event(self, event: bytes) -> bytes | None:
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
            if not self.ask.usage:
                return None
        chunk |= {"model": self.ask.variant.name, "system_fingerprint": self.ask.variant.fingerprint}
        return b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode()


def stopping() -> Refusal:
    return Refusal(503, "unavailable", "This server is stopping. Ask again in a few seconds.")


def dead() -> Refusal:
    return Refusal(503, "engine", "The engine behind this server has died. It takes no more requests.")
