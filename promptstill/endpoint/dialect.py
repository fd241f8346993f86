"""Finds out what an endpoint takes, by asking: a refusal names the field that it is for, as a rule.

OpenAI says "Unsupported parameter: 'max_tokens' is not supported with this model", and so for a value
(https://platform.openai.com/docs/guides/error-codes, 2026-11); Mistral and others that check requests by pydantic say
`extra_forbidden` and where.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from promptstill.dialect import VLLM, Dialect
from promptstill.endpoint.client import Client
from promptstill.endpoint.store import Completion
from promptstill.errors import RequestRefused

PROBE_WORD = "promptstill"
THINKING_TOKENS = 2048  # of a model that thinks: its thoughts on one row
CUT_IN_THOUGHTS = re.compile(r"output limit was reached|higher max_tokens")
Ask = Callable[[dict[str, Any]], Awaitable[Completion]]
ALWAYS = ("model", "messages")  # what no refusal is adapted to
GUESSES = ("max_tokens", "temperature", "stop")  # where a refusal names no field


async def constrains_outputs(client: Client, model: str, role: str = "probe") -> tuple[Dialect, bool]:
    """The model's dialect as far as a short request shows it, and whether the endpoint obeys `structured_outputs`: its
    reply must be the only word that is allowed. role: what the calls are counted as."""

    async def ask(body: dict[str, Any]) -> Completion:
        return await client.complete(body, role)

    plain = plain_request(model)
    choice = plain | {"structured_outputs": {"choice": [PROBE_WORD]}}
    try:
        dialect, reply = await find_dialect(ask, choice, VLLM, guess=False)
        if dialect.thinking_tokens:  # its thoughts have left no room for the word
            reply = await ask(dialect.apply(choice))
    except RequestRefused:
        try:
            dialect, reply = await find_dialect(ask, plain, VLLM)
        except RequestRefused:
            return VLLM, False
    else:
        if reply.text.strip() == PROBE_WORD:
            return dialect, True
    return await look_for_thoughts(ask, plain, dialect, reply), False


def plain_request(model: str) -> dict[str, Any]:
    """A short request with the fields that every request has."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": "Say hello."}],
        "temperature": 0.0,
        "max_tokens": 16,
    }


async def look_for_thoughts(ask: Ask, plain: dict[str, Any], dialect: Dialect, reply: Completion) -> Dialect:
    """The dialect, with room for thoughts where a greeting with much room has some: a chat template may write what
    begins them, so that a short reply does not show what it is."""
    if reply.finish_reason != "length" or dialect.thinking_tokens:
        return dialect
    try:
        return with_thoughts(dialect, await ask(dialect.apply(plain | {"max_tokens": THINKING_TOKENS})))
    except RequestRefused:
        return dialect  # its context is smaller


async def find_dialect(
    ask: Ask, body: Mapping[str, Any], dialect: Dialect, *, guess: bool = True
) -> tuple[Dialect, Completion]:
    """The dialect in which the endpoint takes a request, and its reply, beginning with what is known so far.

    ask: sends a request. guess: whether to leave out one field after the other where a refusal names none. Raises
    `RequestRefused` where it takes the request in no dialect.
    """
    while True:  # a dialect has few fields to change, each but once
        try:
            reply = await ask(dialect.apply(body))
            return with_thoughts(dialect, reply), reply
        except RequestRefused as refusal:
            changed = adapt(dialect, body, refusal, guess=guess)
            if changed is None:
                raise
            dialect = changed


def adapt(dialect: Dialect, body: Mapping[str, Any], refusal: RequestRefused, *, guess: bool) -> Dialect | None:
    """The dialect without what a refusal names, or else without the next field; None where nothing is left to try.

    OpenAI refuses a request whose limit is used up by thoughts.
    """
    if CUT_IN_THOUGHTS.search(str(refusal)) and not dialect.thinking_tokens:
        return dialect.model_copy(update={"thinking_tokens": THINKING_TOKENS})
    sent = dialect.apply(body)
    named = named_field(refusal, sent)
    fields = [named] if named else [one for one in GUESSES if one in sent and guess]
    return next((changed for field in fields if (changed := dialect.without(field))), None)


def named_field(refusal: RequestRefused, sent: Mapping[str, Any]) -> str | None:
    """The field of a request that a refusal is for: the first that its text names; None where it names none."""
    found = {name: re.search(rf"(?<![a-z_]){name}(?![a-z_])", str(refusal)) for name in sent if name not in ALWAYS}
    places = {name: match.start() for name, match in found.items() if match}
    return min(places, key=places.__getitem__, default=None)


def with_thoughts(dialect: Dialect, reply: Completion) -> Dialect:
    """The dialect with room for thoughts, where a reply shows that the model thinks."""
    if (reply.reasoning or reply.reasoning_tokens) and not dialect.thinking_tokens:
        return dialect.model_copy(update={"thinking_tokens": THINKING_TOKENS})
    return dialect
