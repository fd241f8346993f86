"""What conformance servers share: a list of the fields that they know, and replies of models that think."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.support.fake import FakeEndpoint

Body = dict[str, Any]
CHAT_FIELDS = frozenset(
    {
        *("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "n", "seed"),
        *("response_format", "logprobs", "top_logprobs", "logit_bias", "frequency_penalty", "presence_penalty"),
        *("stream", "stream_options", "tools", "tool_choice", "user", "reasoning_effort"),
    }
)
WORDS_OF_THOUGHT = 40


def error(status: int, message: Any, **details: Any) -> web.Response:
    """An error of OpenAI's form."""
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": None} | details
    return web.json_response({"error": body}, status=status)


class ConformanceEndpoint(FakeEndpoint):
    """Knows `fields`, and refuses others by `refuse_field`; None knows all, and ignores what it does not use."""

    fields: frozenset[str] | None = CHAT_FIELDS

    def refuse_field(self, name: str) -> web.Response:
        """The refusal of a field that it does not know."""
        return error(400, f"Unrecognized request argument supplied: {name}")

    def refuse(self, body: Body) -> web.Response | None:
        unknown = [name for name in body if self.fields is not None and name not in self.fields]
        return self.refuse_field(unknown[0]) if unknown else self.refuse_value(body)

    def refuse_value(self, body: Body) -> web.Response | None:
        """What the value of a known field is refused with."""
        return None

    def limit(self, body: Body) -> int:
        """The most tokens of a reply."""
        return int(body.get("max_completion_tokens") or body.get("max_tokens") or 4096)


class ThinkingEndpoint(ConformanceEndpoint):
    """A model that thinks before it answers, for `words` tokens; a shorter limit cuts its thoughts."""

    def words(self, body: Body) -> int:
        """How long it thinks about this request, in words of a token each."""
        return WORDS_OF_THOUGHT

    def thoughts(self, body: Body) -> str:
        """What it thinks, as far as the limit allows."""
        return " ".join(["hm"] * min(self.words(body), self.limit(body)))

    def cuts(self, body: Body) -> bool:
        """Whether the limit is reached within its thoughts."""
        return self.limit(body) <= self.words(body)

    def usage(self, body: Body, text: str) -> Body:
        counted = super().usage(body, text)
        counted["usage"]["completion_tokens"] += min(self.words(body), self.limit(body))
        return counted

    def end(self, body: Body) -> str:
        return "length" if self.cuts(body) else super().end(body)
