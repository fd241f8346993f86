"""Asks for the log-probabilities of labels at the places where they part.

vLLM masks what the grammar forbids before it takes them, and adds a request's `logit_bias` after (vllm/v1/sample/
sampler.py, `raw_logprobs`), so they are the model's own even where a bias leads the reply to a later place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from promptstill.endpoint.client import Client
from promptstill.endpoint.store import Completion
from promptstill.errors import RequestRefused
from promptstill.prompt.decoding import MOST_BIAS
from promptstill.scoring.answer import NO_REPLY, Question
from promptstill.scoring.calibration import ROLE
from promptstill.scoring.calibration.forks import Fork
from promptstill.scoring.evaluate import gather_or_cancel

MOST_TOP = 20  # what OpenAI's API and vLLM give, where `logprob_token_ids` is not known
LEAST = -30.0  # beside the likeliest label's; less says no more
FORBIDDEN = -1_000.0  # vLLM writes -9999 for a token that the grammar forbids
TOKEN = "token_id:"  # how vLLM names a token by its id
ASKED: dict[str, Any] = {"logprobs": True, "top_logprobs": MOST_TOP, "return_tokens_as_token_ids": True}


async def read_fork(fork: Fork, first: Fork, questions: Sequence[Question], client: Client) -> np.ndarray:
    """The log-probability of each branch after the tokens before it, for each row: an array of (rows, branches).

    first: the first fork of the labels; the request's bias leads the reply from there to `fork`. A row whose reply took
    another way, or was refused, is NaN. Those of one row sum to one as probabilities. Raises what `Client.complete`
    raises, but for `RequestRefused`.
    """
    replies = await gather_or_cancel(ask(fork, first, question, client) for question in questions)
    return np.array([read_reply(fork, reply) for reply in replies])


async def ask(fork: Fork, first: Fork, question: Question, client: Client, role: str = ROLE) -> Completion:
    """The completion up to the fork; an empty one where the endpoint refuses the request."""
    try:
        return await client.complete(reading_request(fork, first, question), role)
    except RequestRefused:
        return NO_REPLY


def reading_request(fork: Fork, first: Fork, question: Question) -> dict[str, Any]:
    """A row's request, cut behind the token that decides."""
    prompt = question.prompt
    body = prompt.request(question.inputs) | ASKED
    body[prompt.decoding.dialect.limit] = len(fork.path) + 1
    body["logprob_token_ids"] = [branch.token for branch in fork.branches]
    body.pop("logit_bias", None)
    if led := fork.path[len(first.path) :]:
        body["logit_bias"] = {str(token): MOST_BIAS for token in led}
    return body


def read_reply(fork: Fork, reply: Completion) -> list[float]:
    """One row of `read_fork`."""
    tokens, depth = reply.log_probs or [], len(fork.path)
    went = [next(iter(token)) for token in tokens[:depth]]
    nothing = [np.nan] * len(fork.branches)
    if len(tokens) <= depth or went != [f"{TOKEN}{token}" for token in fork.path]:
        return nothing
    found = tokens[depth]
    names = [f"{TOKEN}{branch.token}" for branch in fork.branches]
    least = min(found.values())  # of a branch that is not among the likeliest
    given = np.array([found.get(name, least) for name in names])
    if found.keys().isdisjoint(names) or not given.min() > FORBIDDEN:
        return nothing
    return [float(one) for one in log_softmax(np.maximum(given - given.max(), LEAST))]


def log_softmax(values: np.ndarray) -> np.ndarray:
    """Log-probabilities that sum to one along the last axis."""
    shifted = values - values.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
