"""Finds out before the search what an endpoint can do: which layouts it accepts, whether it constrains outputs, and its
dialect."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from promptstill.dialect import VLLM, Dialect, JsonMode
from promptstill.endpoint.client import Client
from promptstill.endpoint.dialect import THINKING_TOKENS, constrains_outputs, find_dialect
from promptstill.endpoint.store import Completion
from promptstill.engine.thinking import begins_thoughts
from promptstill.errors import InfrastructureError, PromptstillError, RequestRefused, UserError
from promptstill.prompt.layouts import LAYOUTS, Layout
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.scoring.thinking import find_thinking
from promptstill.task.examples import Example

JSON_MODES: tuple[JsonMode, ...] = ("json_schema", "json_object", None)  # the best first
FIRST: Layout = "chat"  # every endpoint takes it, so its refusals are of fields
# As vLLM, OpenAI, Anthropic and llama.cpp say it.
TOO_LONG = re.compile(r"(maximum|exceeds?) .*context|context (length|size|window)|prompt is too long", re.IGNORECASE)
NO_TEMPLATE = re.compile(r"chat template", re.IGNORECASE)
PROBE_TOKENS = 16  # of an endpoint with a dialect: some refuse to be cut at once


@dataclass(frozen=True)
class Abilities:
    """What an endpoint can do.

    layouts: those that it accepts. structured: whether it constrains outputs by `structured_outputs`. refused: why the
    other layouts are out. dialect: what it takes. thinking: the same where the model is told how much to think.
    """

    layouts: tuple[Layout, ...]
    structured: bool
    refused: dict[Layout, str]
    dialect: Dialect = VLLM
    thinking: Mapping[str, Dialect] = field(default_factory=dict)


async def with_dialect(task: Task, client: Client) -> Task:
    """The task with what a first short request shows of the endpoint."""
    dialect, structured = await constrains_outputs(client, task.model)
    # Without a parser, a grammar keeps the model from thinking: a constrained reply does not show that it thinks.
    if structured and not dialect.thinking_tokens and await begins_thoughts(client, task.model):
        dialect = dialect.model_copy(update={"thinking_tokens": THINKING_TOKENS})
    client.dialects[task.model] = dialect
    # What takes a predictor's place in a program is what DSPy sends: without a grammar.
    return replace(task, structured=structured and not task.in_program, dialect=dialect)


async def probe_layouts(task: Task, layouts: Sequence[Layout], row: Example, client: Client) -> Abilities:
    """Try each of `layouts` (all, where it is empty) on one row of train, with all the fields that the search sends.

    Raises `InfrastructureError` where the endpoint refuses them all, or `UserError` where it says that the model has no
    room for a row, or no chat template.
    """
    layouts = layouts or tuple(LAYOUTS)
    first = FIRST if FIRST in layouts else layouts[0]
    tried = {first: await try_layout(task, first, row, client, guess=True)}
    spoken = replace(task, dialect=tried[first].dialect)
    ways = {} if tried[first].refusal else await thinking_dialects(spoken, first, row, client)
    spoken = replace(spoken, dialect=ended_in_time(spoken.dialect, ways))
    # No chat template begins thoughts there; a reasoning parser would wait for their end.
    silent = replace(spoken, dialect=ways.get("off", spoken.dialect))
    others = [layout for layout in layouts if layout != first]
    tasks = {layout: silent if layout == "raw" else spoken for layout in others}
    found = await asyncio.gather(*(try_layout(tasks[layout], layout, row, client) for layout in others))
    tried |= dict(zip(others, found, strict=True))
    refused = refusals({layout: tried[layout] for layout in layouts})
    json_mode = tried["json"].dialect.json_mode if "json" in tried else None
    dialect = spoken.dialect.model_copy(update={"json_mode": json_mode})
    client.dialects[task.model] = dialect
    thinking = {name: one.model_copy(update={"json_mode": json_mode}) for name, one in ways.items()}
    return Abilities(tuple(one for one in layouts if one not in refused), task.structured, refused, dialect, thinking)


def refusals(tried: Mapping[Layout, Tried]) -> dict[Layout, str]:
    """Why layouts are refused. Raises as `probe_layouts` does where all are."""
    refused = {layout: one.refusal for layout, one in tried.items() if one.refusal is not None}
    if len(refused) == len(tried):
        raise no_layout_error(refused)
    return refused


def ended_in_time(dialect: Dialect, ways: Mapping[str, Dialect]) -> Dialect:
    """The model's own dialect, its thoughts ended where their room ends, if the endpoint can do that: a reply that is
    cut in its thoughts has no answer."""
    budgets = any(one.thinking_token_budget is not None for one in ways.values())
    return dialect.model_copy(update={"thinking_token_budget": dialect.thinking_tokens}) if budgets else dialect


async def thinking_dialects(task: Task, layout: Layout, row: Example, client: Client) -> Mapping[str, Dialect]:
    """What a model that thinks can be told, by a row in one layout. None for a program, where DSPy asks it."""
    if not task.dialect.thinking_tokens or task.in_program:
        return {}
    bare = build_prompt(replace(task, dialect=VLLM), layout, task.signature.instructions)
    body = bare.request(row.inputs) | {"max_tokens": PROBE_TOKENS}
    return await find_thinking(partial(client.complete, role="probe"), body, task.dialect)


def no_layout_error(refused: Mapping[Layout, str]) -> PromptstillError:
    """The error for an endpoint that takes no layout, by what it says of them."""
    why = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
    first = refused.get(FIRST, why)
    if TOO_LONG.search(first):
        do = "Ask a model with a longer context (of vLLM --max-model-len, of Ollama num_ctx), or shorten the rows."
        return UserError("The model's context is too small for one row.", why, do)
    if NO_TEMPLATE.search(first):
        do = "Ask its instruction-tuned version, or give the server a template: of vLLM --chat-template FILE."
        return UserError("The model has no chat template, so it cannot be asked by messages.", why, do)
    do = "Check the model's name and its context length."
    return InfrastructureError("The endpoint refuses every layout.", why, do)


@dataclass(frozen=True)
class Tried:
    """The dialect in which the endpoint takes a layout, or why it does not."""

    dialect: Dialect
    refusal: str | None = None


async def try_layout(task: Task, layout: Layout, row: Example, client: Client, *, guess: bool = False) -> Tried:
    """Ask in a layout for a reply that is cut; the JSON layout in the best mode that the endpoint takes."""
    modes = JSON_MODES if layout == "json" and not task.structured else (None,)
    for mode in modes:
        tried = await try_mode(task, layout, mode, row, client, guess=guess)
        if tried.refusal is None:
            break
    return tried


async def try_mode(task: Task, layout: Layout, mode: JsonMode, row: Example, client: Client, *, guess: bool) -> Tried:
    """The same in one JSON mode. Of vLLM a reply of one token is enough to know.

    A server that ignores `chat_template` accepts `raw`, but adds chat markup to it: the prompt then has as many tokens
    as without that parameter.
    """

    async def ask(body: dict[str, Any]) -> Completion:
        return await client.complete(body, "probe")

    dialect = task.dialect.model_copy(update={"json_mode": mode})
    prompt = build_prompt(replace(task, dialect=Dialect(json_mode=mode)), layout, task.signature.instructions)
    body = prompt.request(row.inputs) | {"max_tokens": 1 if task.dialect == VLLM else PROBE_TOKENS}
    try:
        dialect, reply = await find_dialect(ask, body, dialect, guess=guess)
        if "chat_template" not in body:
            return Tried(dialect)
        plain = {key: body[key] for key in body if key != "chat_template"}
        with_markup = await ask(dialect.apply(plain))
    except RequestRefused as error:
        return Tried(dialect, str(error))
    if reply.prompt_tokens == with_markup.prompt_tokens > 0:
        return Tried(dialect, "the endpoint ignores chat_template")
    all_thoughts = dialect.thinking_tokens and reply.reasoning and not reply.text.strip()
    return Tried(dialect, "all of the reply counts as thoughts there" if all_thoughts else None)
