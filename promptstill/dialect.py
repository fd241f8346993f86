"""What an endpoint's chat requests may hold, where that is not what vLLM takes.

Found by promptstill/endpoint/dialect.py, kept in a prompt's decoding, so that what is sent is what best.json says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_THINKING = 2**20
Effort = Literal["none", "minimal", "low", "medium", "high"]
JsonMode = Literal["json_schema", "json_object"] | None


class Dialect(BaseModel):
    """Of one model at one endpoint; the defaults are vLLM's.

    limit: the name of the field that bounds a reply. temperature, stop: whether these fields are taken. Without `stop`
    the reply is cut on our side, in the same place. json_mode: what the JSON layout asks for where the endpoint does
    not constrain outputs by `structured_outputs`; None for nothing. thinking_tokens: room for the thoughts of a model
    that thinks before it answers, beside that for its answer; 0 for one that does not, or is told not to.

    enable_thinking (in `chat_template_kwargs`), reasoning_effort, thinking_token_budget: what tells it how much to
    think, found by promptstill/scoring/thinking.py; None where it thinks as it does by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True
    stop: bool = True
    json_mode: JsonMode = None
    thinking_tokens: int = Field(default=0, ge=0, le=MOST_THINKING)
    enable_thinking: bool | None = None
    reasoning_effort: Effort | None = None
    thinking_token_budget: int | None = Field(default=None, ge=0, le=MOST_THINKING)

    @property
    def cuts_here(self) -> bool:
        """Whether a reply is cut on our side: a stop would also end the thoughts of a model that thinks."""
        return not self.stop or self.thinking_tokens > 0

    @property
    def in_prompt(self) -> Dialect:
        """As a prompt keeps it: whether it asks for JSON is said by its own `response_format`."""
        return self.model_copy(update={"json_mode": None})

    def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A request, written for vLLM, as this endpoint takes it."""
        sent = dict(body)
        if "max_tokens" in body and (self.limit != "max_tokens" or self.thinking_tokens):
            sent[self.limit] = sent.pop("max_tokens") + self.thinking_tokens
        if not self.temperature:
            sent.pop("temperature", None)
        if self.cuts_here:
            sent.pop("stop", None)
        return sent | self.controls

    @property
    def controls(self) -> dict[str, Any]:
        """The fields that tell a model how much to think."""
        template = None if self.enable_thinking is None else {"enable_thinking": self.enable_thinking}
        fields = {
            "chat_template_kwargs": template,
            "reasoning_effort": self.reasoning_effort,
            "thinking_token_budget": self.thinking_token_budget,
        }
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def control_text(self) -> str:
        """The same for a line of text."""
        return ", ".join(f"{name} {json.dumps(value)}" for name, value in self.controls.items())

    def without(self, field: str) -> Dialect | None:
        """The dialect for an endpoint that refuses a field of the request; None where nothing can be said instead."""
        changes: dict[str, dict[str, Any]] = {
            "max_tokens": {"limit": "max_completion_tokens"},
            "temperature": {"temperature": False},
            "stop": {"stop": False},
        }
        changed = self.model_copy(update=changes.get(field, {}))
        return None if changed == self else changed

    def __str__(self) -> str:
        """For a line that tells of it; empty for vLLM's own."""
        parts = [f"{self.limit} for max_tokens"] if self.limit != "max_tokens" else []
        parts += [] if self.temperature else ["no temperature"]
        parts += [] if self.stop else ["no stop (replies are cut here)"]
        parts += [f"{self.json_mode} in the json layout"] if self.json_mode else []
        parts += [self.control_text] if self.controls else []
        parts += [f"room for {self.thinking_tokens:,} tokens of thoughts"] if self.thinking_tokens else []
        return ", ".join(parts)


VLLM = Dialect()
