"""How an endpoint splits texts into tokens, by the route /tokenize that vLLM has beside the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from promptstill.endpoint.client import Client

TIMEOUT = aiohttp.ClientTimeout(total=10)


@dataclass(frozen=True)
class Tokens:
    """A text in tokens: their ids, and each one's string as the vocabulary has it."""

    ids: tuple[int, ...]
    strings: tuple[str, ...]


async def tokenize(client: Client, model: str, text: str) -> Tokens | None:
    """The tokens of a text, without any that begin or end one; None where the endpoint does not say."""
    return await ask(client, {"model": model, "prompt": text, "add_special_tokens": False})


async def tokenize_chat(client: Client, model: str, messages: Sequence[Mapping[str, Any]]) -> Tokens | None:
    """The tokens of messages in the model's chat template, up to where a reply begins; None as for `tokenize`."""
    return await ask(client, {"model": model, "messages": messages})


async def ask(client: Client, body: Mapping[str, Any]) -> Tokens | None:
    """It is no call: it asks nothing of the model, and counts against no limit."""
    url = client.endpoint.base_url.removesuffix("/v1") + "/tokenize"
    try:
        async with client.session.post(url, json={**body, "return_token_strs": True}, timeout=TIMEOUT) as response:
            return read_tokens(await response.json(content_type=None))
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError):
        return None  # other servers have no such route, or answer in another form


def read_tokens(reply: Any) -> Tokens:
    """The tokens in vLLM's answer."""
    return Tokens(tuple(int(one) for one in reply["tokens"]), tuple(str(one) for one in reply["token_strs"]))
