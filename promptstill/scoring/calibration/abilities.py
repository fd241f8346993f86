"""Finds out whether prompts of label tasks can be calibrated at an endpoint, by one short request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from promptstill.dialect import VLLM
from promptstill.endpoint.client import Client
from promptstill.endpoint.dialect import PROBE_WORD, plain_request
from promptstill.endpoint.tokenize import tokenize
from promptstill.errors import RequestRefused
from promptstill.prompt.decoding import MOST_BIAS
from promptstill.scoring.calibration.readings import ASKED, TOKEN

GREETING = "Hello"  # what is read beside the word that no greeting begins with


@dataclass(frozen=True)
class LabelAbilities:
    """What an endpoint has of what calibration needs.

    log_probs: whether it gives log-probabilities, and names tokens by their ids. logit_bias: whether it obeys one.
    problem: what is missing, for a line of the run; empty where nothing is.
    """

    log_probs: bool = False
    logit_bias: bool = False
    problem: str = ""

    @property
    def can_calibrate(self) -> bool:
        return self.log_probs and self.logit_bias


async def find_label_abilities(client: Client, model: str, role: str = "probe") -> LabelAbilities:
    """Whether the endpoint takes and obeys `logprobs` and `logit_bias`: a greeting must begin with a word that no
    greeting begins with, where its token has the highest bias. One call, of a token; none where the endpoint does not
    say how it splits texts, or where the model thinks before it answers. role: what the call is counted as.
    """
    dialect = client.dialects.get(model, VLLM)
    if dialect.thinking_tokens:
        return LabelAbilities(problem="the model thinks before it answers")
    word, other = await tokenize(client, model, PROBE_WORD), await tokenize(client, model, GREETING)
    if not word or not other or not word.ids or not other.ids:
        return LabelAbilities(problem="the endpoint does not say how it splits texts into tokens")
    body = plain_request(model) | ASKED
    body |= {"logit_bias": {str(word.ids[0]): MOST_BIAS}, "logprob_token_ids": [word.ids[0], other.ids[0]]}
    try:
        reply = await client.complete(dialect.apply(body | ({"max_tokens": 1} if dialect == VLLM else {})), role)
    except RequestRefused as refusal:
        return LabelAbilities(problem=f"the endpoint refuses logprobs or logit_bias: {refusal}")
    return read_abilities(reply.log_probs, f"{TOKEN}{word.ids[0]}")


def read_abilities(log_probs: list[dict[str, Any]] | None, wanted: str) -> LabelAbilities:
    """What a reply shows whose first token the bias wanted."""
    if not log_probs:
        return LabelAbilities(problem="the endpoint gives no log-probabilities")
    first = next(iter(log_probs[0]))
    if not first.startswith(TOKEN):
        return LabelAbilities(problem="the endpoint does not name tokens by their ids")
    if first != wanted:
        return LabelAbilities(log_probs=True, problem="the endpoint ignores logit_bias")
    return LabelAbilities(log_probs=True, logit_bias=True)
