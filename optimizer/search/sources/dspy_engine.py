"""DSPy's language model over our client: what DSPy asks is stored, counted and limited as every other call."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.lm15 import Message, Request, Response, Usage

from promptstill.endpoint.allowance import LimitReached
from promptstill.endpoint.client import Client
from promptstill.errors import PromptstillError

REPLY_TOKENS = 160


@dataclass
class ClientEngine:
    """DSPy's engine protocol over our client, so that proposals are stored and counted like all calls.

    `sample` sets one proposal apart from another that asks the same.
    """

    client: Client
    model: str
    sample: int
    loop: asyncio.AbstractEventLoop
    fatal: list[Exception] = field(default_factory=list)

    def complete(self, request: Request) -> Response:
        coroutine = self.client.complete(to_body(request, self.model), "proposer", self.sample)
        try:
            completion = asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()
        except (LimitReached, PromptstillError) as error:
            self.fatal.append(error)
            raise
        usage = Usage(input_tokens=completion.prompt_tokens, output_tokens=completion.completion_tokens)
        message = Message.assistant(completion.text or " ")
        return Response(id=None, model=self.model, message=message, finish_reason="stop", usage=usage)


def to_body(request: Request, model: str) -> dict[str, Any]:
    """An lm15 request as the body of an OpenAI chat call."""
    system = [{"role": "system", "content": request.system}] if isinstance(request.system, str) else []
    turns = [{"role": message.role, "content": message.text or ""} for message in request.messages]
    temperature = request.config.temperature if request.config.temperature is not None else 1.0
    return {"model": model, "messages": system + turns, "temperature": temperature, "max_tokens": REPLY_TOKENS}


def to_dspy_lm(engine: ClientEngine) -> dspy.LM:
    return dspy.LM(engine.model, engine=engine, cache=False, num_retries=0, temperature=1.0, max_tokens=REPLY_TOKENS)
