"""A prompt that was found on vLLM, asked at endpoints that take other requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import dspy
import pytest
from aiohttp import web

from promptstill.engine.models import Model
from promptstill.errors import UserError
from promptstill.prompt.layouts import LAYOUTS, Layout
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.answer import ModelAnswer, answer
from promptstill.scoring.port import port_line, port_prompt
from tests.support.client import run_with_client
from tests.support.fake import Body, FakeEndpoint, echo_answer
from tests.support.providers import openai, others
from tests.support.providers.base import error

ROW = {"thing": "lava"}
LARGE = Model("large", "large", None)
ELSEWHERE: tuple[Callable[..., FakeEndpoint], ...] = (
    *(openai.OpenAIChat, openai.OpenAIReasoning, others.Mistral, others.Ollama, others.InlineThinking),
)


class Feel(dspy.Signature):
    """Is the thing hot or cold?"""

    thing: str = dspy.InputField()
    feel: Literal["hot", "cold"] = dspy.OutputField()


def feel_prompt(layout: Layout) -> Prompt:
    return build_prompt(Task(Feel, "small", 8, markers=("<s>",)), layout, "Hot or cold?")


def feels(body: Body) -> str:
    """The right answer in the form that is asked for."""
    text = str(body["messages"])
    if "structured_outputs" in body:
        return echo_answer(body)
    return "[[ ## feel ## ]]\nhot" if "[[ ##" in text else '{"feel": "hot"}' if "JSON" in text else "hot"


def ported(fake: FakeEndpoint, prompt: Prompt, folder: Path) -> tuple[Prompt, ModelAnswer, int]:
    """The prompt as it is asked there, its answer, and the number of calls that it took to find out."""

    async def work(client: object) -> tuple[Prompt, ModelAnswer, int]:
        found = await port_prompt(prompt, LARGE, ROW, client)  # type: ignore[arg-type]  # run_with_client gives one
        calls = fake.requests
        return found, await answer(found, ROW, client), calls  # type: ignore[arg-type]  # as above

    return run_with_client(fake, folder, work)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("make", ELSEWHERE)
def test_another_endpoint_is_asked_the_same_without_what_only_vllm_takes(
    make: Callable[..., FakeEndpoint], layout: Layout, tmp_path: Path
) -> None:
    prompt = feel_prompt(layout)
    with make(feels) as fake:
        found, given, calls = ported(fake, prompt, tmp_path)
    assert given.outputs == {"feel": "hot"} and calls <= 12
    assert found.model == "large" and found.decoding.structured is None and found.decoding.min_tokens == 0
    assert found.layout == ("inline" if layout == "raw" else layout)
    assert found.preview() == prompt.preview(), "what is asked is the same"
    assert port_line(prompt, found).startswith("the prompt ")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_vllm_keeps_layout_and_grammar(layout: Layout, tmp_path: Path) -> None:
    prompt = feel_prompt(layout)
    with FakeEndpoint(feels) as fake:
        found, _, _ = ported(fake, prompt, tmp_path)
    assert found.decoding == prompt.decoding and (found.layout, found.model) == (layout, "large")
    assert port_line(prompt, found) == "the prompt as it is"


def test_an_own_prompt_that_a_model_continues_is_refused(tmp_path: Path) -> None:
    prompt = feel_prompt("raw").model_copy(update={"templated": True})
    with openai.OpenAIChat(feels) as fake, pytest.raises(UserError) as caught:
        ported(fake, prompt, tmp_path)
    assert caught.value.what == "The endpoint of large takes the prompt in no form."
    assert caught.value.why == "Its layout, raw, needs the field chat_template."


def test_raw_is_not_asked_where_all_of_it_counts_as_thoughts(tmp_path: Path) -> None:
    class WaitsForTheEnd(FakeEndpoint):
        """A vLLM whose reasoning parser finds no thoughts in `raw`, and takes all of the reply for them."""

        def message(self, body: Body, text: str) -> Body:
            return {"content": None, "reasoning": text} if "chat_template" in body else {"content": text}

    with WaitsForTheEnd(feels) as fake:
        ported = run_with_client(fake, tmp_path, lambda client: port_prompt(feel_prompt("raw"), LARGE, ROW, client))
    assert ported.layout == "inline"


def test_json_is_asked_for_in_the_next_best_way_and_the_line_says_so(tmp_path: Path) -> None:
    class JsonMode(openai.OpenAIChat):
        def refuse_value(self, body: Body) -> web.Response | None:
            schema = (body.get("response_format") or {}).get("type") == "json_schema"
            return error(400, "response_format: json_schema is not supported") if schema else None

    schema = {"type": "json_schema", "json_schema": {"name": "reply", "schema": {"type": "object"}}}
    prompt = feel_prompt("json")
    decoding = prompt.decoding.model_copy(update={"structured": None, "response_format": schema})
    prompt = prompt.model_copy(update={"decoding": decoding})
    with JsonMode(feels) as fake:
        found, given, _ = ported(fake, prompt, tmp_path)
    assert found.decoding.response_format == {"type": "json_object"} and given.outputs == {"feel": "hot"}
    assert port_line(prompt, found) == "the prompt with json_object for json_schema"
