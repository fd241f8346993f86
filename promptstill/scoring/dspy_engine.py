"""DSPy's language model over our client: what DSPy asks is stored, counted and limited as every other call."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import CancelledError, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

import dspy
from dspy.lm15 import Message, Request, Response, Usage

from promptstill.endpoint.allowance import LimitReached
from promptstill.endpoint.client import Client
from promptstill.endpoint.store import Completion
from promptstill.errors import PromptstillError

LOOK_S = 1.0  # between two looks whether the thread is still wanted
Result = TypeVar("Result")


@dataclass
class ClientEngine:
    """DSPy's engine protocol over our client, for code that runs in a thread beside the event loop.

    sample: sets one proposal apart from another that asks the same. role: what its calls are counted as. temperature,
    max_tokens: of a call that names none. fatal: what must stop the run, though DSPy may hide it. completions: the
    replies so far. stopped: whether what the thread works for was cancelled. stop: what ends a reply; empty for
    nothing. ends_when_cut: whether a reply that was cut at its limit is the last, though DSPy would ask again in
    another form: a model that rambles would do so there too.
    """

    client: Client
    model: str
    sample: int
    loop: asyncio.AbstractEventLoop
    role: str
    temperature: float
    max_tokens: int
    fatal: list[Exception] = field(default_factory=list)
    completions: list[Completion] = field(default_factory=list)
    stopped: bool = False
    stop: str = ""
    ends_when_cut: bool = False

    @property
    def was_cut(self) -> bool:
        """Whether the last reply ended at its limit."""
        return bool(self.completions) and self.completions[-1].finish_reason == "length"

    def complete(self, request: Request) -> Response:
        completion = self.ask(self.to_body(request))
        usage = Usage(input_tokens=completion.prompt_tokens, output_tokens=completion.completion_tokens)
        message = Message.assistant(completion.text or " ")
        return Response(id=None, model=self.model, message=message, finish_reason="stop", usage=usage)

    def ask(self, body: dict[str, Any]) -> Completion:
        """The completion of a request's body, waited for in this thread. Raises as `Client.complete` does, and
        `ValueError` after a reply that was to be the last."""
        if self.ends_when_cut and self.was_cut:
            raise ValueError("the reply before was cut at its limit")
        completion = self.wait(self.client.complete(body, self.role, self.sample))
        self.completions.append(completion)
        return completion

    def wait(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """What the coroutine returns in the event loop. Raises `CancelledError` once nobody waits for this thread."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        while not wait([future], timeout=LOOK_S).done:  # a loop that has ended would leave the thread waiting for ever
            if self.stopped:
                raise CancelledError
        try:
            return future.result()
        except (LimitReached, PromptstillError) as error:
            self.fatal.append(error)
            raise

    def to_lm(self) -> dspy.LM:
        options = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return dspy.LM(self.model, engine=self, cache=False, num_retries=0, **options)

    def to_body(self, request: Request) -> dict[str, Any]:
        """An lm15 request as the body of an OpenAI chat call that the endpoint takes."""
        system = [{"role": "system", "content": request.system}] if isinstance(request.system, str) else []
        turns = [{"role": message.role, "content": message.text or ""} for message in request.messages]
        config = request.config
        temperature = self.temperature if config.temperature is None else config.temperature
        max_tokens = config.max_tokens or self.max_tokens
        body = {"model": self.model, "messages": system + turns, **({"stop": [self.stop]} if self.stop else {})}
        return self.client.spoken(body | {"temperature": temperature, "max_tokens": max_tokens})
