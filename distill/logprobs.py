"""Whether the endpoint really serves the adapter: its log-probabilities against PEFT's, token by token.

An engine may load an adapter and serve the base's answers under its name (vllm issue 34186), so equal texts prove
nothing. The endpoint is asked for its own greedy tokens and their log-probabilities; PEFT says what these tokens should
have cost with the adapter, and without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp

from distill.encode import Encoded
from optimizer.errors import InfrastructureError
from optimizer.models import Model
from optimizer.prompt import Prompt

PROBE_TOKENS = 16
TIMEOUT_S = 300.0
# Nats of one token. vLLM 0.32 and PEFT differed by at most 3e-5 in float32 on a CPU (tests/test_adapter_e2e.py prints
# what it measures); an adapter that matters changes tokens by whole nats. The bfloat16 figure is not measured.
TOLERANCE = {"fp32": 0.01, "bf16": 0.25}
State = Literal["live", "dead", "differs"]


@dataclass(frozen=True)
class Spoken:
    """What an endpoint answered to one probe: its greedy tokens and their log-probabilities (nats)."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str

    @property
    def row(self) -> Encoded:
        return Encoded("probe", self.prompt, self.completion)


@dataclass(frozen=True)
class Liveness:
    """The verdict and its figures, all the largest difference over `tokens` tokens, in nats: engine against PEFT with
    the adapter and without it, and `effect`, what the adapter changes by PEFT's own account."""

    state: State
    tokens: int
    engine_to_on: float
    engine_to_off: float
    effect: float
    tolerance: float

    @property
    def sentence(self) -> str:
        said = {
            "live": "The endpoint serves the adapter, as it should",
            "dead": "The adapter is dead: the endpoint answers as the base does",
            "differs": "The endpoint's answers are neither the adapter's nor the base's",
        }[self.state]
        return (
            f"{said}. On {self.tokens} tokens its log-probabilities differ by {nats(self.engine_to_on)} from PEFT's "
            f"with the adapter, by {nats(self.engine_to_off)} from PEFT's without it; "
            f"up to {self.tolerance:g} counts as equal."
        )


def nats(distance: float) -> str:
    """A difference in two digits; one that is only rounding, as less than anything that matters."""
    return f"up to {distance:.2g}" if distance >= 0.0001 else "less than 0.0001"


def compare_logprobs(
    engine: Sequence[Sequence[float]],
    peft_on: Sequence[Sequence[float]],
    peft_off: Sequence[Sequence[float]],
    tolerance: float,
) -> Liveness:
    """Judge an endpoint's log-probabilities of its own tokens against PEFT's of the same ones.

    An adapter that changes nothing by PEFT's own account is as dead as one that the engine ignores. Raises `ValueError`
    for lists of different shapes or without a token.
    """
    on, off, effect = _distance(engine, peft_on), _distance(engine, peft_off), _distance(peft_on, peft_off)
    state: State = "differs"
    if effect <= tolerance or (off <= tolerance < on):
        state = "dead"
    elif on <= tolerance:
        state = "live"
    return Liveness(state, sum(map(len, engine)), on, off, effect, tolerance)


def _distance(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    pairs = [pair for x, y in zip(one, other, strict=True) for pair in zip(x, y, strict=True)]
    return max(abs(a - b) for a, b in pairs)


async def ask(
    base_url: str,
    name: str,
    prompt: Prompt,
    rows: Sequence[Mapping[str, Any]],
    headers: Mapping[str, str] | None = None,
) -> list[Spoken]:
    """The greedy answers of the model `name` to rows of inputs, free of grammar, at most PROBE_TOKENS each.

    Raises `InfrastructureError` for an endpoint that does not answer or gives no log-probabilities.
    """
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, headers=headers, trust_env=True) as session:
        bodies = [probe_body(name, prompt, inputs) for inputs in rows]
        return list(await asyncio.gather(*(_post(session, base_url, body) for body in bodies)))


def probe_body(name: str, prompt: Prompt, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt's own request, without its grammar: log-probabilities are of the model, not of the grammar."""
    body = prompt.request(inputs)
    body = {key: value for key, value in body.items() if key not in ("structured_outputs", "response_format", "stop")}
    asked = {"max_tokens": PROBE_TOKENS, "logprobs": True, "return_token_ids": True}
    return body | {"model": name, "temperature": 0.0} | asked


async def _post(session: aiohttp.ClientSession, base_url: str, body: dict[str, Any]) -> Spoken:
    try:
        async with session.post(f"{base_url}/chat/completions", json=body) as response:
            answer = await response.json(content_type=None)
        return read_spoken(answer)
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InfrastructureError(
            f"The endpoint {base_url} gave no log-probabilities for {body['model']}.",
            f"{type(error).__name__}: {error}",
            "Read the engine's log; the adapter's liveness needs vLLM 0.32 or newer.",
        ) from error


def read_spoken(answer: Mapping[str, Any]) -> Spoken:
    """The tokens and log-probabilities in vLLM's answer. Raises KeyError, TypeError or ValueError without them."""
    choice = answer["choices"][0]
    values = [float(one["logprob"]) for one in choice["logprobs"]["content"]]
    tokens = [int(one) for one in choice["token_ids"]]
    if len(tokens) != len(values):
        raise ValueError(f"{len(tokens)} tokens but {len(values)} log-probabilities")
    prompt = tuple(int(one) for one in answer["prompt_token_ids"])
    return Spoken(prompt, tuple(tokens), tuple(values), choice["message"].get("content") or "")


def peft_logprobs(
    model: Model, adapter_dir: Path, spoken: Sequence[Spoken]
) -> tuple[list[list[float]], list[list[float]]]:
    """PEFT's log-probabilities of the spoken tokens, with the adapter and without it."""
    from distill.adapter import load_adapter
    from distill.targets import logprobs
    from distill.weights import best_device, load_base

    adapted = load_adapter(load_base(model, "auto", best_device()), adapter_dir)
    rows = [one.row for one in spoken]
    on = logprobs(adapted, rows)
    with adapted.disable_adapter():
        return on, logprobs(adapted, rows)
