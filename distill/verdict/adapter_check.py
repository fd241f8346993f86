"""Checks that the endpoint really serves the adapter: its log-probabilities against PEFT's, token by token.

An engine may load an adapter and serve the base's answers under its name (vllm issue 34186), so equal texts prove
nothing. The endpoint is asked for greedy replies with the log-probability of each token. PEFT computes the same tokens'
log-probabilities with the adapter and without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp

from distill.train.distance import largest_difference
from distill.train.encode import EncodedExample
from promptstill.endpoint.endpoint import Endpoint, open_session
from promptstill.engine.models import Model
from promptstill.errors import InfrastructureError
from promptstill.prompt.prompt import Prompt

PROBE_TOKENS = 16
# Nats of one token. vLLM 0.32 and PEFT differed by at most 3e-5 in float32 on a CPU (test_adapter_e2e.py prints what it
# measures); an adapter that matters changes tokens by whole nats. The bfloat16 figure is not measured.
TOLERANCE = {"fp32": 0.01, "bf16": 0.25}
State = Literal["live", "dead", "differs"]


@dataclass(frozen=True)
class EngineTokens:
    """An endpoint's answer to one probe: its greedy tokens and their log-probabilities (nats)."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str

    @property
    def row(self) -> EncodedExample:
        return EncodedExample("probe", self.prompt, self.completion)


@dataclass(frozen=True)
class AdapterCheck:
    """The state, and the largest differences (nats) in log-probability over `tokens` tokens.

    difference_from_adapter, difference_from_base: between the endpoint and PEFT with the adapter, or without it.
    adapter_effect: between PEFT with the adapter and PEFT without it.
    tolerance: log-probabilities that differ by no more count as equal.
    """

    state: State
    tokens: int
    difference_from_adapter: float
    difference_from_base: float
    adapter_effect: float
    tolerance: float

    @property
    def sentence(self) -> str:
        finding = {
            "live": "The endpoint serves the adapter, as it should",
            "dead": "The adapter has no effect: the endpoint answers as the base does",
            "differs": "The endpoint's answers are neither the adapter's nor the base's",
        }[self.state]
        return (
            f"{finding}. On {self.tokens} tokens its log-probabilities differ by {nats(self.difference_from_adapter)} "
            f"from PEFT's with the adapter, by {nats(self.difference_from_base)} from PEFT's without it; "
            f"up to {self.tolerance:g} counts as equal."
        )


def nats(difference: float) -> str:
    """A difference in two digits; a mere rounding error as "less than 0.0001"."""
    return f"up to {difference:.2g}" if difference >= 0.0001 else "less than 0.0001"


def compare_logprobs(
    engine: Sequence[Sequence[float]],
    with_adapter: Sequence[Sequence[float]],
    without_adapter: Sequence[Sequence[float]],
    tolerance: float,
) -> AdapterCheck:
    """Compare an endpoint's log-probabilities of its own tokens with PEFT's of the same ones.

    An adapter that changes nothing in PEFT either is as dead as one that the engine ignores. Raises `ValueError` for
    lists of different shapes or without a token.
    """
    from_adapter = largest_difference(engine, with_adapter)
    from_base = largest_difference(engine, without_adapter)
    effect = largest_difference(with_adapter, without_adapter)
    state: State = "differs"
    if effect <= tolerance or (from_base <= tolerance < from_adapter):
        state = "dead"
    elif from_adapter <= tolerance:
        state = "live"
    return AdapterCheck(state, sum(map(len, engine)), from_adapter, from_base, effect, tolerance)


async def ask_tokens(
    endpoint: Endpoint, name: str, prompt: Prompt, rows: Sequence[Mapping[str, Any]]
) -> list[EngineTokens]:
    """The greedy replies of the model `name` to rows of inputs, without grammar, of at most PROBE_TOKENS each.

    Raises `InfrastructureError` for an endpoint that does not answer or gives no log-probabilities.
    """
    bodies = [probe_body(name, prompt, inputs) for inputs in rows]
    async with open_session(endpoint) as session:
        return list(await asyncio.gather(*(_post(session, endpoint.base_url, body) for body in bodies)))


def probe_body(name: str, prompt: Prompt, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt's own request, without its grammar, which would change the log-probabilities."""
    body = prompt.request(inputs)
    body = {key: value for key, value in body.items() if key not in ("structured_outputs", "response_format", "stop")}
    probe = {"max_tokens": PROBE_TOKENS, "logprobs": True, "return_token_ids": True}
    return body | {"model": name, "temperature": 0.0} | probe


async def _post(session: aiohttp.ClientSession, base_url: str, body: dict[str, Any]) -> EngineTokens:
    try:
        async with session.post(f"{base_url}/chat/completions", json=body) as response:
            answer = await response.json(content_type=None)
        return read_tokens(answer)
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InfrastructureError(
            f"The endpoint {base_url} gave no log-probabilities for {body['model']}.",
            f"{type(error).__name__}: {error}",
            "Read the engine's log. The check of the adapter needs vLLM 0.32 or newer.",
        ) from error


def read_tokens(answer: Mapping[str, Any]) -> EngineTokens:
    """The tokens and log-probabilities in vLLM's answer. Raises KeyError, TypeError or ValueError without them."""
    choice = answer["choices"][0]
    values = [float(one["logprob"]) for one in choice["logprobs"]["content"]]
    tokens = [int(one) for one in choice["token_ids"]]
    if len(tokens) != len(values):
        raise ValueError(f"{len(tokens)} tokens but {len(values)} log-probabilities")
    prompt = tuple(int(one) for one in answer["prompt_token_ids"])
    return EngineTokens(prompt, tuple(tokens), tuple(values), choice["message"].get("content") or "")


def peft_logprobs(
    model: Model, adapter_dir: Path, probes: Sequence[EngineTokens]
) -> tuple[list[list[float]], list[list[float]]]:
    """PEFT's log-probabilities of the engine's tokens, with the adapter and without it."""
    from distill.train.adapter import load_adapter
    from distill.train.logprobs import logprobs
    from distill.train.weights import best_device, load_base

    adapted = load_adapter(load_base(model, "auto", best_device()), adapter_dir)
    rows = [one.row for one in probes]
    with_adapter = logprobs(adapted, rows)
    with adapted.disable_adapter():
        return with_adapter, logprobs(adapted, rows)
