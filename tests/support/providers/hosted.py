"""Providers with an API of their own, which are asked through LiteLLM: Anthropic, Gemini, and Azure.

Sources, looked up on 2026-11-30. Anthropic: https://platform.claude.com/docs/en/api/errors for statuses and the form of
errors; users' reports for "each stop sequence must contain non-whitespace" (litellm issue 3286) and "`temperature` is
deprecated for this model." (claude-opus-4-8, 2026-06 to 2026-09). Gemini: https://ai.google.dev/gemini-api/docs/
generate-content/api-errors for statuses, an invalid key is a 400; users' reports for the names of fields. Azure: users'
reports. Assumed: which other fields Anthropic and Gemini know, that a field which Anthropic does not know is refused
with "Extra inputs are not permitted", and the number of Gemini's stop sequences.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.support.providers.base import WORDS_OF_THOUGHT, Body, ConformanceEndpoint, ThinkingEndpoint
from tests.support.providers.openai import OpenAIChat

CLAUDE_FIELDS = frozenset(
    {
        *("model", "messages", "system", "max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "stream"),
        *("metadata", "tools", "tool_choice", "thinking", "output_format", "output_config"),
    }
)
RIGHT = "the-right-key"
GEMINI_CONFIG = frozenset(
    {
        *("temperature", "topP", "topK", "maxOutputTokens", "stopSequences", "candidateCount", "seed"),
        *("responseMimeType", "responseSchema", "responseJsonSchema", "thinkingConfig", "responseLogprobs", "logprobs"),
    }
)


class HostedEndpoint(ConformanceEndpoint):
    """An API with a path, a key's header and a form of errors of its own."""

    name = ""  # of the model, as LiteLLM has it
    key_header = ""
    paths: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which LiteLLM finds this server."""
        raise NotImplementedError

    async def _application(self) -> web.Application:
        app = web.Application()
        for path in self.paths:
            app.router.add_post(path, self._complete)
        return app

    def _refuse(self, request: web.Request) -> web.Response | None:
        given = request.headers.get(self.key_header, "")
        return None if given == RIGHT else self.refuse_key(given)

    def refuse_key(self, given: str) -> web.Response:
        """A refusal, which repeats the key, as some gateways do."""
        raise NotImplementedError


class Claude(HostedEndpoint):
    """Anthropic's Messages, of a model that takes a temperature."""

    name = "anthropic/claude-haiku-4-5"
    key_header = "x-api-key"
    paths = ("/v1/messages",)
    fields = CLAUDE_FIELDS

    @property
    def environment(self) -> dict[str, str]:
        return {"ANTHROPIC_API_BASE": f"http://127.0.0.1:{self.port}", "ANTHROPIC_API_KEY": RIGHT}

    def refuse_key(self, given: str) -> web.Response:
        return claude_error(401, f"invalid x-api-key {given}", "authentication_error")

    def refuse_field(self, name: str) -> web.Response:
        return claude_error(400, f"{name}: Extra inputs are not permitted")

    def refuse_value(self, body: Body) -> web.Response | None:
        if not all(stop.strip() for stop in body.get("stop_sequences", [])):
            return claude_error(400, "stop_sequences: each stop sequence must contain non-whitespace")
        if not 0 <= body.get("temperature", 1) <= 1:
            return claude_error(400, "temperature: range: 0..1")
        return None

    def seen(self, body: Body) -> Body:
        system = [{"role": "system", "content": block_text(body["system"])}] if body.get("system") else []
        turns = [{"role": turn["role"], "content": block_text(turn["content"])} for turn in body["messages"]]
        return {"messages": [*system, *turns], "max_tokens": body["max_tokens"]}

    def completion(self, body: Body, text: str, *, lost: bool) -> Body:
        counted = self.usage(body, text)["usage"]
        usage = {"input_tokens": counted["prompt_tokens"], "output_tokens": 0 if lost else counted["completion_tokens"]}
        answer = {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": self.name.partition("/")[2],
            "usage": usage,
        }
        return answer | {"content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None}


class NewerClaude(Claude):
    """A model that is never asked at another temperature than its own."""

    name = "anthropic/claude-opus-4-8"

    def refuse_value(self, body: Body) -> web.Response | None:
        if "temperature" in body:
            return claude_error(400, "`temperature` is deprecated for this model.")
        return super().refuse_value(body)


def claude_error(status: int, message: str, kind: str = "invalid_request_error") -> web.Response:
    return web.json_response({"type": "error", "error": {"type": kind, "message": message}}, status=status)


def block_text(content: Any) -> str:
    """The text of a message, which may be a list of blocks."""
    return content if isinstance(content, str) else "".join(str(block.get("text", "")) for block in content)


class Gemini(ThinkingEndpoint, HostedEndpoint):
    """generateContent, of a model that thinks, and counts its thoughts without showing them."""

    name = "gemini/gemini-2.5-flash"
    key_header = "x-goog-api-key"
    paths = ("/models/{model}",)

    @property
    def environment(self) -> dict[str, str]:
        return {"GEMINI_API_BASE": f"http://127.0.0.1:{self.port}", "GEMINI_API_KEY": RIGHT}

    def refuse_key(self, given: str) -> web.Response:
        return gemini_error(f"API key not valid. Please pass a valid API key. {given}")

    def refuse(self, body: Body) -> web.Response | None:
        config = camel(body.get("generationConfig", {}))
        unknown = [name for name in config if name not in GEMINI_CONFIG]
        if unknown:
            return gemini_error(f'Invalid JSON payload received. Unknown name "{unknown[0]}": Cannot find field.')
        if len(config.get("stopSequences", [])) > 5:
            return gemini_error("The number of stop sequences must be at most 5.")
        return None

    def seen(self, body: Body) -> Body:
        config = camel(body.get("generationConfig", {}))
        instruction = camel(body).get("systemInstruction")
        system = [{"role": "system", "content": block_text(instruction["parts"])}] if instruction else []
        roles = {"model": "assistant", "user": "user"}
        turns = [{"role": roles[turn["role"]], "content": block_text(turn["parts"])} for turn in body["contents"]]
        return {"messages": [*system, *turns], "max_tokens": config.get("maxOutputTokens")}

    def completion(self, body: Body, text: str, *, lost: bool) -> Body:
        cut, counted = self.cuts(body), self.usage(body, text)["usage"]
        thoughts, said = min(WORDS_OF_THOUGHT, self.limit(body)), 0 if lost else counted["completion_tokens"]
        usage = {"promptTokenCount": counted["prompt_tokens"], "thoughtsTokenCount": thoughts}
        usage |= {} if cut else {"candidatesTokenCount": said}
        usage |= {"totalTokenCount": sum(usage.values())}
        content = {"role": "model"} | ({} if cut else {"parts": [{"text": text}]})
        candidate = {"content": content, "finishReason": "MAX_TOKENS" if cut else "STOP", "index": 0}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": self.name.partition("/")[2]}


def gemini_error(message: str, status: int = 400, state: str = "INVALID_ARGUMENT") -> web.Response:
    return web.json_response({"error": {"code": status, "message": message, "status": state}}, status=status)


def camel(fields: Body) -> Body:
    """A message of Protocol Buffers as JSON: its names are taken in snake case too."""
    return {first + "".join(map(str.title, rest)): value
            for name, value in fields.items() for first, *rest in [name.split("_")]}  # fmt: skip


class Azure(HostedEndpoint, OpenAIChat):
    """A deployment, which answers as OpenAI does."""

    name = "azure/our-deployment"
    key_header = "api-key"
    paths = ("/openai/deployments/our-deployment/chat/completions",)

    @property
    def environment(self) -> dict[str, str]:
        return {"AZURE_API_BASE": f"http://127.0.0.1:{self.port}", "AZURE_API_KEY": RIGHT}

    def refuse_key(self, given: str) -> web.Response:
        message = f"Access denied due to invalid subscription key {given} or wrong API endpoint."
        return web.json_response({"error": {"code": "401", "message": message}}, status=401)


HOSTED = (Claude, NewerClaude, Gemini, Azure)
