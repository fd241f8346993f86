"""Finds out how a model that thinks can be told to think less, more or not at all.

It is asked one row with each control that is known, and its thoughts are looked at: an endpoint may ignore a field that
it does not know. What is kept is a dialect that was asked as it will be sent, since what is allowed may depend on it:
with an effort other than `none`, OpenAI's models refuse `temperature`, `top_p` and `logprobs`
(https://github.com/vercel/ai/issues/10932, looked up 2026-11-30).

The controls: `enable_thinking` for the chat template (Qwen3 and others, at vLLM and SGLang), `reasoning_effort`
(OpenAI, Ollama, vLLM), `thinking_token_budget` (vLLM with a reasoning parser).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from promptstill.dialect import Dialect
from promptstill.endpoint.dialect import THINKING_TOKENS, Ask, find_dialect
from promptstill.endpoint.store import Completion
from promptstill.errors import RequestRefused

LESS, MORE = 0.9, 1.1  # of its own thoughts, so that chance alone does not look like a control
SHORT_SHARE, LEAST_BUDGET = 4, 16  # a budget is a quarter of its own thoughts, and so many tokens at least
LONG_ROOM = 4 * THINKING_TOKENS
BYTES_PER_TOKEN = 4
Found = tuple[Dialect, Completion]


async def find_thinking(ask: Ask, body: dict[str, Any], own: Dialect) -> dict[str, Dialect]:
    """The dialects in which the model does not think, thinks shortly and thinks long, as far as there are controls.

    body: a row's request, as vLLM takes it. own: the dialect in which the model thinks as it does by itself.
    """
    size = thought_tokens(await ask(own.apply(body)))
    if not size:
        return {}
    controls = Controls(ask, body, own, size)
    found: dict[str, Dialect | None] = {
        "off": await controls.off(),
        "short": await controls.short(),
        "long": await controls.long(),
    }
    return {name: dialect for name, dialect in found.items() if dialect}


def thought_tokens(reply: Completion) -> int:
    """The tokens of a reply's thoughts: as counted by the endpoint, or nearly."""
    return reply.reasoning_tokens or -(-len(reply.reasoning) // BYTES_PER_TOKEN)


@dataclass
class Controls:
    """What has been tried at one endpoint. size: the tokens of the model's own thoughts on the row.

    refusal: what it said to an effort of `none`, where it refused that. efforts: whether it obeys any.
    """

    ask: Ask
    body: dict[str, Any]
    own: Dialect
    size: int
    refusal: str = ""
    efforts: bool = False

    async def off(self) -> Dialect | None:
        """Without thoughts, room for them is not needed, a stop ends no thought, and a temperature may be taken."""
        for control in self.off_controls():
            if (found := await self.find(self.own, control)) and not thought_tokens(found[1]):
                self.efforts = "reasoning_effort" in control
                bare = Dialect(limit=self.own.limit, json_mode=self.own.json_mode)
                settled = await self.find(bare, control)
                return settled[0] if settled and not settled[0].thinking_tokens else None
        return None

    @property
    def like_openai(self) -> bool:
        """Whether it names the limit as OpenAI does, which knows efforts alone."""
        return self.own.limit == "max_completion_tokens"

    def off_controls(self) -> list[dict[str, Any]]:
        """Those that may end thinking."""
        effort: list[dict[str, Any]] = [{"reasoning_effort": "none"}]
        return effort if self.like_openai else [{"enable_thinking": False}, *effort]

    async def short(self) -> Dialect | None:
        effort = "minimal" if "minimal" in self.refusal else "low"
        budget = max(LEAST_BUDGET, self.size // SHORT_SHARE)
        found = await self.find(self.own, {"reasoning_effort": effort})
        if found and thought_tokens(found[1]) < LESS * self.size:
            self.efforts = True
            return found[0]
        found = None if self.like_openai else await self.find(self.own, {"thinking_token_budget": budget})
        return found[0] if found and thought_tokens(found[1]) < LESS * self.size else None

    async def long(self) -> Dialect | None:
        roomy = self.own.model_copy(update={"thinking_tokens": LONG_ROOM})
        found = await self.find(roomy, {"reasoning_effort": "high"}) if self.efforts else None
        return found[0] if found and thought_tokens(found[1]) > MORE * self.size else None

    async def find(self, dialect: Dialect, control: dict[str, Any]) -> Found | None:
        """The dialect with a control, as the endpoint takes the two together, and its reply; None where it refuses."""
        try:
            return await find_dialect(self.ask, self.body, dialect.model_copy(update=control), guess=False)
        except RequestRefused as refusal:
            self.refusal = str(refusal) if control == {"reasoning_effort": "none"} else self.refusal
            return None
