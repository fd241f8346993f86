"""Whoever proposes instructions: the task's own model, another at its endpoint, or one at an endpoint of its own."""

from __future__ import annotations

from optimizer.search.sources.source import SourceContext
from promptstill.endpoint.allowance import PROPOSER
from promptstill.endpoint.client import Client
from promptstill.endpoint.dialect import constrains_outputs

REPLY_TOKENS = 1_500  # of a proposal, where the context has room for them
CONTEXT_SHARE = 4  # a reply takes a quarter of the context at most: the rows that it is about need the rest
DIALECT_CALLS = 7  # of another model's dialect, at most


def reply_tokens(context: SourceContext) -> int:
    """The limit of a proposal. In a small context it is small too, which also bounds the time of a model that rambles
    to every limit."""
    return min(REPLY_TOKENS, context.context_tokens // CONTEXT_SHARE)


def opening_calls(context: SourceContext) -> int:
    """The calls that `open_proposer` takes at most."""
    return DIALECT_CALLS if context.proposer else 0


async def open_proposer(context: SourceContext, client: Client, calls: int) -> Client:
    """The client that asks the proposer, for up to so many calls; what the model takes is found out first.

    client: what asks the task's own endpoint, for a proposer that is there.
    """
    if context.proposer_client:
        client = context.proposer_client.share(calls)
    if context.proposer and context.proposer not in client.dialects:
        client.dialects[context.proposer], _ = await constrains_outputs(client, context.proposer, PROPOSER)
    return client
