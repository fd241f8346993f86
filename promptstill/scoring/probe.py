"""Finds out before the search what an endpoint can do: which layouts it accepts, and whether it constrains outputs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from promptstill.endpoint.client import Client
from promptstill.errors import InfrastructureError, RequestRefused
from promptstill.prompt.layouts import LAYOUTS, Layout
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.task.examples import Example

PROBE_WORD = "promptstill"


@dataclass(frozen=True)
class Abilities:
    """What an endpoint can do.

    layouts: those that it accepts. structured: whether it constrains outputs. refused: why the other layouts are out.
    """

    layouts: tuple[Layout, ...]
    structured: bool
    refused: dict[Layout, str]


async def constrains_outputs(client: Client, model: str) -> bool:
    """Whether the endpoint obeys `structured_outputs`: its reply must be the only word that is allowed."""
    body = {"model": model, "messages": [{"role": "user", "content": "Say hello."}], "temperature": 0.0}
    try:
        reply = await client.complete(
            body | {"max_tokens": 16, "structured_outputs": {"choice": [PROBE_WORD]}}, "probe"
        )
    except RequestRefused:
        return False
    return reply.text.strip() == PROBE_WORD


async def layout_refusal(task: Task, layout: Layout, row: Example, client: Client) -> str | None:
    """Why the endpoint refuses a layout, else None; a reply of one token is enough to know.

    A server that ignores `chat_template` accepts `raw`, but adds chat markup to it: the prompt then has as many tokens
    as without that parameter.
    """
    body = build_prompt(task, layout, task.signature.instructions).request(row.inputs) | {"max_tokens": 1}
    try:
        reply = await client.complete(body, "probe")
        if "chat_template" not in body:
            return None
        with_markup = await client.complete({key: body[key] for key in body if key != "chat_template"}, "probe")
    except RequestRefused as error:
        return str(error)
    ignored = reply.prompt_tokens == with_markup.prompt_tokens > 0
    return "the endpoint ignores chat_template" if ignored else None


async def probe_layouts(task: Task, layouts: Sequence[Layout], row: Example, client: Client) -> Abilities:
    """Try each of `layouts` (all, where it is empty) on one row of train.

    Raises `InfrastructureError` where the endpoint refuses them all.
    """
    layouts = layouts or tuple(LAYOUTS)
    reasons = await asyncio.gather(*(layout_refusal(task, layout, row, client) for layout in layouts))
    refused = {layout: why for layout, why in zip(layouts, reasons, strict=True) if why is not None}
    if len(refused) == len(layouts):
        raise InfrastructureError(
            "The endpoint refuses every layout.",
            "; ".join(f"{name}: {why}" for name, why in refused.items()),
            "Check the model's name and its context length.",
        )
    return Abilities(tuple(layout for layout in layouts if layout not in refused), task.structured, refused)
