"""Mistral, Ollama, LM Studio, gateways, and vLLM with a model that thinks.

Sources, looked up on 2026-11-30. Mistral: users' reports of status 422 with `extra_forbidden` (2025-12, 2026-02), and
https://docs.mistral.ai/resources/cookbooks/mistral-reasoning for replies that are lists of blocks. Ollama: the fields
listed at https://docs.ollama.com/api/openai-compatibility. LM Studio:
https://lmstudio.ai/docs/advanced/structured-output. vLLM:
https://docs.vllm.ai/en/v0.26.0/features/reasoning_outputs/ (thoughts in `reasoning`; before, `reasoning_content`), and
the code of vLLM 0.32 for `chat_template_kwargs`, `reasoning_effort` and `thinking_token_budget`.
Assumed: that Ollama and LM Studio ignore fields that they do not list, and which fields Mistral knows besides.
"""

from __future__ import annotations

from aiohttp import web

from tests.support.providers.base import CHAT_FIELDS, Body, ConformanceEndpoint, ThinkingEndpoint

VLLM_FIELDS = frozenset(
    {
        *("structured_outputs", "chat_template", "add_special_tokens", "min_tokens"),
        *("chat_template_kwargs", "thinking_token_budget"),
    }
)


class Mistral(ConformanceEndpoint):
    """Knows `max_tokens`, and refuses what it does not know."""

    fields = CHAT_FIELDS - {"max_completion_tokens", "logprobs", "logit_bias", "seed", "user"}

    def refuse_field(self, name: str) -> web.Response:
        detail = [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}]
        body = {"object": "error", "message": {"detail": detail}, "type": "invalid_request_error", "param": None}
        return web.json_response(body, status=422)


class Ollama(ConformanceEndpoint):
    """Ignores what it does not know, `chat_template`, `structured_outputs` and `n` among it."""

    fields = None

    def seen(self, body: Body) -> Body:
        return {name: value for name, value in body.items() if name not in VLLM_FIELDS | {"n"}}


class LMStudio(Ollama):
    """As Ollama; its answers have the thoughts of a model in `reasoning_content` where that setting is on."""


class StrippingGateway(Ollama):
    """A gateway that ignores unknown fields, and drops `usage`."""

    def usage(self, body: Body, text: str) -> Body:
        return {}


class ThinkingVLLM(ThinkingEndpoint):
    """vLLM with `--reasoning-parser`: thoughts stand apart, and a grammar begins after them.

    An effort of `none` sets `enable_thinking` for the template too; other efforts change nothing in Qwen3's.
    """

    fields = CHAT_FIELDS | VLLM_FIELDS
    place = "reasoning"

    def words(self, body: Body) -> int:
        thinks = (body.get("chat_template_kwargs") or {}).get("enable_thinking", body.get("reasoning_effort") != "none")
        most = super().words(body)
        return min(most, body.get("thinking_token_budget", most)) if thinks else 0

    def message(self, body: Body, text: str) -> Body:
        thoughts = self.thoughts(body) or None
        return {"content": None if self.cuts(body) else f"\n\n{text}" if thoughts else text, self.place: thoughts}


class OlderThinkingVLLM(ThinkingVLLM):
    """The same before the field was renamed, and before there were budgets and an effort of `none`."""

    place = "reasoning_content"

    def words(self, body: Body) -> int:
        newer = ("reasoning_effort", "thinking_token_budget")
        return super().words({name: value for name, value in body.items() if name not in newer})


class InlineThinking(ThinkingEndpoint):
    """A server without a parser: thoughts stand in the content, and nothing constrains the reply."""

    fields = None

    def seen(self, body: Body) -> Body:
        return {name: value for name, value in body.items() if name not in VLLM_FIELDS}

    begin = "<think>\n"

    def message(self, body: Body, text: str) -> Body:
        thoughts = f"{self.begin}{self.thoughts(body)}"
        return {"content": thoughts[: self.limit(body)] if self.cuts(body) else f"{thoughts}\n</think>\n\n{text}"}


class TemplatedThinking(InlineThinking):
    """The same where the chat template writes what begins the thoughts, as that of Qwen3-Thinking does."""

    begin = ""


class Magistral(ThinkingEndpoint, Mistral):
    """Mistral's thinking models: the content is a list of blocks."""

    def message(self, body: Body, text: str) -> Body:
        thoughts = {"type": "thinking", "thinking": [{"type": "text", "text": self.thoughts(body)}]}
        return {"content": [thoughts, *([] if self.cuts(body) else [{"type": "text", "text": text}])]}
