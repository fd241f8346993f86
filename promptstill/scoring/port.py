"""A prompt in the form that another endpoint takes than the one at which it was found.

What it says stays the same. What may change is the dialect, the grammar of its replies, how JSON is asked for, and the
layout `raw`, whose text then stands in a user message, as in `inline`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from promptstill.dialect import VLLM, Dialect
from promptstill.endpoint.client import Client
from promptstill.endpoint.dialect import constrains_outputs, find_dialect
from promptstill.endpoint.store import Completion
from promptstill.engine.markers import find_markers
from promptstill.engine.models import Model
from promptstill.errors import RequestRefused, UserError
from promptstill.prompt.decoding import NO_BIAS
from promptstill.prompt.layouts import OWN
from promptstill.prompt.prompt import Prompt
from promptstill.prompt.reply import ReplyFormat

PROBE_TOKENS = 16  # of a reply that only shows whether the request is taken
PORT_CALLS = 8  # answered, in which a form is found at most
AS_IT_IS = "the prompt as it is"
NEEDS_TEMPLATE = "Its layout, raw, needs the field chat_template."


async def port_prompt(prompt: Prompt, model: Model, inputs: Mapping[str, Any], client: Client) -> Prompt:
    """The prompt as the model at the client's endpoint is asked it: the first form that a short request passes in.

    inputs: of one row. The calls count as `probe`. Raises `UserError` where the endpoint takes it in no form.
    """
    markers = await find_markers(model, client)
    dialect, structured = await constrains_outputs(client, model.name)
    why = NEEDS_TEMPLATE
    for form in forms(prompt, structured=structured):
        asked = form.asked_of(model.name, markers, VLLM)
        try:
            found = await try_form(asked, inputs, dialect, client)
        except RequestRefused as refusal:
            why = str(refusal)
        else:
            return asked.asked_of(model.name, markers, found)
    raise UserError(
        f"The endpoint of {model.name} takes the prompt in no form.",
        why,
        "Search a prompt on that model itself: optimize RECIPE.py --model MODEL@URL",
    )


def needs_port(prompt: Prompt) -> bool:
    """Whether its request has fields, besides those of the dialect, that not every endpoint takes."""
    decoding = prompt.decoding
    beside = decoding.structured or decoding.min_tokens or decoding.response_format or decoding.logit_bias
    return bool(prompt.layout == "raw" or beside)


def port_line(prompt: Prompt, ported: Prompt) -> str:
    """In which form a prompt is asked, for a sentence."""
    parts = [f"in the layout {ported.layout} for {prompt.layout}"] if ported.layout != prompt.layout else []
    parts += ["without its calibration"] if prompt.decoding.logit_bias and not ported.decoding.logit_bias else []
    parts += ["without a grammar"] if prompt.decoding.structured and not ported.decoding.structured else []
    before, after = ((one.decoding.response_format or {}).get("type") for one in (prompt, ported))
    parts += [f"with {after or 'no response_format'} for {before}"] if before != after and before else []
    parts += [f"with {spoken}"] if (spoken := str(ported.decoding.dialect)) else []
    return f"the prompt {', '.join(parts)}" if parts else AS_IT_IS


def forms(prompt: Prompt, *, structured: bool) -> Iterator[Prompt]:
    """The forms of a prompt, the nearest to its own first. structured: whether the endpoint constrains outputs.

    A prompt of the user's own in the layout `raw` has no other: what continues its text answers no message.
    """
    if structured:
        yield prompt
    if prompt.layout == "raw":
        if prompt.templated:
            return
        prompt = in_a_message(prompt)
    # A bias was measured under the grammar.
    free = prompt.decoding.model_copy(update={"structured": None, "min_tokens": 0, **NO_BIAS})
    for form in response_formats(free.response_format, own=prompt.layout == OWN):
        yield prompt.model_copy(update={"decoding": free.model_copy(update={"response_format": form})})


def in_a_message(prompt: Prompt) -> Prompt:
    """A prompt of the layout `raw` in the layout `inline`, which has the same text."""
    return prompt.model_copy(update={"layout": "inline", "reply": ReplyFormat(style=prompt.reply.style)})


def response_formats(form: Mapping[str, Any] | None, *, own: bool) -> Iterator[Mapping[str, Any] | None]:
    """How JSON may be asked for, the best first. own: whether the user wrote `form`, which then is taken as it is."""
    if form and form["type"] == "json_schema":
        yield form if own else {**form, "json_schema": {**form["json_schema"], "strict": True}}
    if form:
        yield {"type": "json_object"}
    yield None


async def try_form(prompt: Prompt, inputs: Mapping[str, Any], dialect: Dialect, client: Client) -> Dialect:
    """The dialect in which the endpoint takes the prompt.

    Raises `RequestRefused`; for the layout `raw` also where the endpoint ignores its template, so that a prompt has as
    many tokens as with chat markup, and where a reasoning parser waits for the end of thoughts that never began.
    """

    async def ask(body: dict[str, Any]) -> Completion:
        return await client.complete(body, "probe")

    body = prompt.request(inputs) | {"max_tokens": PROBE_TOKENS}
    found, reply = await find_dialect(ask, body, dialect)
    if "chat_template" in body and reply.reasoning and not reply.text:
        raise RequestRefused("all of a reply in raw counts as thoughts there")
    if "chat_template" in body:
        plain = {key: value for key, value in body.items() if key != "chat_template"}
        with_markup = await ask(found.apply(plain))
        if reply.prompt_tokens == with_markup.prompt_tokens > 0:
            raise RequestRefused("the endpoint ignores chat_template")
    return found
