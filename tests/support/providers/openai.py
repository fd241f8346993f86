"""OpenAI's chat completions: a chat model, and a reasoning model.

Sources, looked up on 2026-11-30. The API reference (https://platform.openai.com/docs/api-reference/chat/create), as
others quote it: `max_tokens` "is not compatible with o1 series models", `stop` is "not supported with latest reasoning
models". Users' reports for the texts of refusals: `max_tokens` by gpt-5.4 (2026-04) and by Azure's gpt-5.1 (2026-07),
`temperature` by gpt-5-mini, a limit that thoughts use up. The guide to reasoning models said at first that `n` is
fixed at 1. Assumed: that it still is, that `n`, `logprobs` and `logit_bias` are refused in the same words, and how
strict schemas are refused. A reasoning model shows no thoughts, but counts them.

`reasoning_effort`: models before gpt-5.1 think with `medium` where nothing is said, and refuse `none`; gpt-5.1 knows
`none`, `low`, `medium` and `high`, and takes `temperature` with `none` alone
(https://learn.microsoft.com/en-us/javascript/api/@azure/ai-projects/reasoningeffort,
https://github.com/vercel/ai/issues/10932). The refusal's text is a user's report of 2026-06, of a provider that has
OpenAI's words. Assumed: how long a model thinks with which effort.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.support.providers.base import WORDS_OF_THOUGHT, Body, ConformanceEndpoint, ThinkingEndpoint, error


class OpenAIChat(ConformanceEndpoint):
    """A model without reasoning, such as gpt-4.1."""

    def refuse_field(self, name: str) -> web.Response:
        return error(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")

    def refuse_value(self, body: Body) -> web.Response | None:
        if body.get("max_tokens") and body.get("max_completion_tokens"):
            return error(400, "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.")
        if len(body.get("stop") or []) > 4:
            return error(400, "Invalid 'stop': array too long. Expected at most 4 items.", param="stop")
        return refuse_format(body)


def refuse_format(body: Body) -> web.Response | None:
    """Strict schemas close every object and require every property; JSON mode wants the word in a message."""
    form = body.get("response_format") or {}
    if form.get("type") == "json_object" and "json" not in str(body["messages"]).lower():
        return error(400, "'messages' must contain the word 'json' to use 'response_format' of type 'json_object'.")
    if form.get("type") != "json_schema" or not form["json_schema"].get("strict"):
        return None
    if place := open_object(form["json_schema"]["schema"]):
        text = f"Invalid schema for response_format '{form['json_schema']['name']}': In context={place}, "
        return error(400, text + "'additionalProperties' is required to be supplied and to be false.")
    return None


def open_object(schema: Any, place: tuple[str, ...] = ()) -> tuple[str, ...] | None:
    """Where a schema holds an object that is not closed; None where all are."""
    if isinstance(schema, list):
        return next((found for one in schema if (found := open_object(one, place))), None)
    if not isinstance(schema, dict):
        return None
    closed = schema.get("additionalProperties") is False
    if schema.get("type") == "object" and not (closed and set(schema["required"]) == set(schema["properties"])):
        return place or ("()",)
    return next((found for name, one in schema.items() if (found := open_object(one, (*place, name)))), None)


class OpenAIReasoning(ThinkingEndpoint, OpenAIChat):
    """A reasoning model, such as gpt-5-mini."""

    efforts: Mapping[str, int] = {"minimal": 4, "low": 12, "medium": WORDS_OF_THOUGHT, "high": 90}

    def words(self, body: Body) -> int:
        return self.efforts[body.get("reasoning_effort", "medium")]

    def refuse_effort(self, effort: str) -> web.Response:
        *some, last = (f"'{one}'" for one in self.efforts)
        text = f"Unsupported value: 'reasoning_effort' does not support '{effort}' with this model. "
        text += f"Supported values are: {', '.join(some)}, and {last}."
        return error(400, text, param="reasoning_effort", code="unsupported_value")

    def takes_temperature(self, body: Body) -> bool:
        return False

    def refuse_value(self, body: Body) -> web.Response | None:
        if (effort := body.get("reasoning_effort", "medium")) not in self.efforts:
            return self.refuse_effort(effort)
        if "max_tokens" in body:
            text = "Unsupported parameter: 'max_tokens' is not supported with this model. "
            text += "Use 'max_completion_tokens' instead."
            return error(400, text, param="max_tokens", code="unsupported_parameter")
        for name in ("stop", "logprobs", "logit_bias"):
            if name in body:
                text = f"Unsupported parameter: '{name}' is not supported with this model."
                return error(400, text, param=name, code="unsupported_parameter")
        for name in ("n",) if self.takes_temperature(body) else ("temperature", "n"):
            if (value := body.get(name, 1)) != 1:
                text = f"Unsupported value: '{name}' does not support {value} with this model. "
                text += "Only the default (1) value is supported."
                return error(400, text, param=name, code="unsupported_value")
        if self.cuts(body):
            text = "Could not finish the message because max_tokens or model output limit was reached. "
            return error(400, text + "Please try again with higher max_tokens.")
        return super().refuse_value(body)

    def usage(self, body: Body, text: str) -> Body:
        counted = super().usage(body, text)
        counted["usage"]["completion_tokens_details"] = {"reasoning_tokens": min(self.words(body), self.limit(body))}
        return counted


class OpenAIWithoutThinking(OpenAIReasoning):
    """As gpt-5.1, which can be told not to think, and then takes a temperature. That it thinks where nothing is said is
    assumed: gpt-5.1 itself does not."""

    efforts: Mapping[str, int] = {"none": 0, "low": 12, "medium": WORDS_OF_THOUGHT, "high": 90}

    def takes_temperature(self, body: Body) -> bool:
        return body.get("reasoning_effort") == "none"
