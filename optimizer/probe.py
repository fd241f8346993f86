"""What an endpoint can do, found out with a call or two each before the search: layouts, and constrained outputs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.client import Client
from optimizer.errors import InfrastructureError, RequestRefused, UserError
from optimizer.examples import Example
from optimizer.layouts import LAYOUTS, Task, build
from optimizer.pools import Pools
from optimizer.prompt import Layout

WORD = "promptstill"


@dataclass(frozen=True)
class Abilities:
    """The layouts that the endpoint accepts, whether it constrains outputs, and why each other layout is left out."""

    layouts: tuple[Layout, ...]
    structured: bool
    refused: dict[Layout, str]


async def constrains(client: Client, model: str) -> bool:
    """Whether `structured_outputs` binds: asked to answer anything, the reply must be the one word allowed."""
    body = {"model": model, "messages": [{"role": "user", "content": "Say hello."}], "temperature": 0.0}
    try:
        reply = await client.complete(body | {"max_tokens": 16, "structured_outputs": {"choice": [WORD]}}, "probe")
    except RequestRefused:
        return False
    return reply.text.strip() == WORD


async def refusal(task: Task, layout: Layout, row: Example, client: Client) -> str | None:
    """Why the endpoint refuses a layout, or None; one reply token is enough to know.

    A server that ignores `chat_template` takes `raw` and wraps it in chat markup: the prompt then counts as many tokens
    as it does without the field.
    """
    body = build(task, layout, task.signature.instructions).request(row.inputs) | {"max_tokens": 1}
    try:
        asked = await client.complete(body, "probe")
        if "chat_template" not in body:
            return None
        templated = await client.complete({key: body[key] for key in body if key != "chat_template"}, "probe")
    except RequestRefused as error:
        return str(error)
    ignored = asked.prompt_tokens == templated.prompt_tokens > 0
    return "the endpoint ignores chat_template" if ignored else None


def refuse_less(able: Abilities, pools: Pools) -> None:
    """A search goes on only at an endpoint that can do what it began with. Raises `UserError`."""
    lacking = [layout for layout in pools.layouts if layout not in able.layouts]
    if lacking or able.structured < pools.structured:
        raise UserError(
            "The endpoint can do less than the one on which this search began.",
            f"It lacks {', '.join([*lacking, *(['structured outputs'] if not able.structured else [])])}.",
            "Go on at an endpoint like the first, or start a new run without --resume.",
        )


async def probe(task: Task, layouts: Sequence[Layout], row: Example, client: Client) -> Abilities:
    """Try each layout on one train row. Raises `InfrastructureError` where the endpoint refuses them all."""
    tried = layouts or LAYOUTS
    answers = await asyncio.gather(*(refusal(task, layout, row, client) for layout in tried))
    refused = {layout: why for layout, why in zip(tried, answers, strict=True) if why is not None}
    if len(refused) == len(tried):
        raise InfrastructureError(
            "The endpoint refuses every layout.",
            "; ".join(f"{name}: {why}" for name, why in refused.items()),
            "Check the model's name and its context length.",
        )
    return Abilities(tuple(layout for layout in tried if layout not in refused), task.structured, refused)
