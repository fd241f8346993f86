"""What a model that thinks can be told is found with few calls, and asked as it will be sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from promptstill.dialect import VLLM, Dialect
from promptstill.endpoint.client import Client
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.task import OwnPredictor
from promptstill.scoring.probe import Abilities, probe_layouts, with_dialect
from promptstill.scoring.thinking import find_thinking
from promptstill.task.examples import Example
from tests.support.client import run_with_client
from tests.support.fake import Body, FakeEndpoint
from tests.support.providers import openai, others
from tests.support.providers.base import error
from tests.support.tasks import ANSWER, ANSWER_INPUTS

OPENAI = {"limit": "max_completion_tokens", "temperature": False, "thinking_tokens": 2048}
NAMED = {"limit": "max_completion_tokens"}
BODY = build_prompt(ANSWER, "chat", "Answer.").request(ANSWER_INPUTS) | {"max_tokens": 16}
ROW = Example("1", "1", ANSWER_INPUTS, {"answer": "x"}, ANSWER_INPUTS, "1")


class Effortful(others.ThinkingVLLM):
    """vLLM's gpt-oss: it heeds efforts, refuses `none`, and has no chat template that could be told."""

    def words(self, body: Body) -> int:
        return {"low": 10, "high": 80}.get(body.get("reasoning_effort", ""), 40)

    def refuse_value(self, body: Body) -> Any:
        harmony = "Harmony does not support reasoning_effort='none'"
        return error(400, harmony) if body.get("reasoning_effort") == "none" else None


@pytest.mark.parametrize(
    ("make", "own", "told", "calls"),
    [
        (
            others.ThinkingVLLM,
            {"thinking_tokens": 2048},
            {
                "off": {"enable_thinking": False},
                "short": {"thinking_tokens": 2048, "thinking_token_budget": 16},
            },
            5,
        ),
        (others.OlderThinkingVLLM, {"thinking_tokens": 2048}, {"off": {"enable_thinking": False}}, 5),
        (
            Effortful,
            {"thinking_tokens": 2048},
            {
                "short": {"thinking_tokens": 2048, "reasoning_effort": "low"},
                "long": {"thinking_tokens": 8192, "reasoning_effort": "high"},
            },
            5,
        ),
        (
            openai.OpenAIReasoning,
            OPENAI,
            {
                "short": OPENAI | {"reasoning_effort": "minimal"},
                "long": OPENAI | {"reasoning_effort": "high", "thinking_tokens": 8192},
            },
            4,
        ),
        (
            openai.OpenAIWithoutThinking,
            OPENAI,
            {
                "off": NAMED | {"reasoning_effort": "none", "stop": False},
                "short": OPENAI | {"reasoning_effort": "low"},
                "long": OPENAI | {"reasoning_effort": "high", "thinking_tokens": 8192},
            },
            6,
        ),
        (others.InlineThinking, {"thinking_tokens": 2048}, {}, 5),
        (others.Magistral, {"thinking_tokens": 2048}, {}, 5),
        (FakeEndpoint, {}, {}, 1),
    ],
)
def test_each_control_is_found_or_not_with_few_calls(
    make: type[FakeEndpoint], own: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]], calls: int, tmp_path: Path
) -> None:
    async def find(client: Client) -> Mapping[str, Dialect]:
        return await find_thinking(partial(client.complete, role="probe"), BODY, Dialect(**own))

    with make() as fake:
        found = run_with_client(fake, tmp_path, find)
        assert fake.requests == calls
    assert found == {name: Dialect(**dialect) for name, dialect in told.items()}


def test_without_thoughts_a_stop_is_sent_and_no_room_and_with_them_their_place_in_the_request_is_said() -> None:
    off = Dialect(enable_thinking=False).apply(BODY)
    assert off == BODY | {"chat_template_kwargs": {"enable_thinking": False}} and off["stop"] == ["\n"]
    short = Dialect(thinking_tokens=2048, reasoning_effort="low", thinking_token_budget=0).apply(BODY)
    assert "stop" not in short and short["max_tokens"] == 16 + 2048
    assert (short["reasoning_effort"], short["thinking_token_budget"]) == ("low", 0)
    assert str(Dialect(enable_thinking=False)) == 'chat_template_kwargs {"enable_thinking": false}'


class Templated(FakeEndpoint):
    """A vLLM without a parser, whose model's chat template ends with these tokens. A grammar keeps it from thinking."""

    ending: tuple[str, ...] = ()

    async def _application(self) -> web.Application:
        app = await super()._application()
        app.router.add_post("/tokenize", self.tokenize)
        return app

    async def tokenize(self, request: web.Request) -> web.Response:
        chat = "messages" in await request.json()
        strings = ["<|im_start|>", "assistant", "Ċ", *self.ending] if chat else []
        return web.json_response({"tokens": [*range(len(strings))], "token_strs": strings})


@pytest.mark.parametrize(
    ("ending", "thinks"), [((), False), (("<think>", "Ċ"), True), (("<think>", "ĊĊ", "</think>", "ĊĊ"), False)]
)
def test_a_template_that_begins_thoughts_is_found_out_behind_a_grammar(
    ending: tuple[str, ...], thinks: bool, tmp_path: Path
) -> None:
    fake = Templated()
    fake.ending = ending
    with fake:
        task = run_with_client(fake, tmp_path, lambda client: with_dialect(replace(ANSWER, model="fake"), client))
        assert fake.requests == 1
    assert task.structured and task.dialect == Dialect(thinking_tokens=2048 if thinks else 0)


def test_a_program_is_asked_as_dspy_asks_it(tmp_path: Path) -> None:
    def probe(program: bool) -> Abilities:
        async def work(client: Client) -> Abilities:
            own = OwnPredictor(in_program=True) if program else None
            task = replace(ANSWER, model="fake", own=own, dialect=Dialect(thinking_tokens=2048))
            return await probe_layouts(task, ("dspy-chat",), ROW, client)

        folder = tmp_path / str(program)
        folder.mkdir()
        with others.ThinkingVLLM() as fake:
            return run_with_client(fake, folder, work)

    assert set(probe(program=False).thinking) == {"off", "short"}
    assert probe(program=True).thinking == {}
    assert VLLM.controls == {}
