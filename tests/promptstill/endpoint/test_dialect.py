"""What an endpoint takes is found out by its refusals, with few calls, and said in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from promptstill.dialect import VLLM, Dialect
from promptstill.endpoint.client import Client
from promptstill.endpoint.dialect import Ask, constrains_outputs, find_dialect
from promptstill.errors import RequestRefused
from tests.support.client import run_with_client
from tests.support.fake import Body, FakeEndpoint
from tests.support.providers import openai, others

REASONING = Dialect(limit="max_completion_tokens", temperature=False, thinking_tokens=2048)
BODY = {"model": "fake", "messages": [{"role": "user", "content": "a"}], "temperature": 0.0, "max_tokens": 8}


def asking(client: Client) -> Ask:
    return lambda body: client.complete(body, "probe")


class Silent(FakeEndpoint):
    """Refuses requests with any of `refused`, without saying why."""

    refused: frozenset[str] = frozenset()

    def refuse(self, body: Body) -> web.Response | None:
        return web.json_response({"error": "bad request"}, status=400) if self.refused & body.keys() else None


def silent(*refused: str) -> type[Silent]:
    return type("Silent", (Silent,), {"refused": frozenset(refused)})


@pytest.mark.parametrize(
    ("make", "dialect", "structured", "calls"),
    [
        (FakeEndpoint, VLLM, True, 1),
        (openai.OpenAIChat, VLLM, False, 2),
        (openai.OpenAIReasoning, REASONING, False, 5),
        (others.TemplatedThinking, Dialect(thinking_tokens=2048), False, 2),
        (others.Magistral, Dialect(thinking_tokens=2048), False, 2),
        (others.Mistral, VLLM, False, 2),
        (others.Ollama, VLLM, False, 1),
        (others.ThinkingVLLM, Dialect(thinking_tokens=2048), True, 2),
        (silent("structured_outputs"), VLLM, False, 2),
        (silent("structured_outputs", "max_tokens"), Dialect(limit="max_completion_tokens"), False, 3),
    ],
)
def test_a_short_request_shows_the_dialect(
    make: type[FakeEndpoint], dialect: Dialect, structured: bool, calls: int, tmp_path: Path
) -> None:
    async def find(client: Client) -> tuple[Dialect, bool]:
        return await constrains_outputs(client, "fake")

    with make() as fake:
        assert run_with_client(fake, tmp_path, find) == (dialect, structured)
        assert fake.requests == calls


def test_the_combination_that_will_be_sent_is_asked(tmp_path: Path) -> None:
    def found(make: type[FakeEndpoint], body: dict[str, Any]) -> Dialect:
        async def find(client: Client) -> Dialect:
            return (await find_dialect(asking(client), body, VLLM))[0]

        with make() as fake:
            return run_with_client(fake, tmp_path / make.__name__, find)

    for name in ("OpenAIReasoning", "Silent", "FakeEndpoint"):
        (tmp_path / name).mkdir()
    with_stop = BODY | {"stop": ["\n"]}
    assert not found(openai.OpenAIReasoning, with_stop).stop
    assert found(silent("stop"), with_stop) == Dialect(limit="max_completion_tokens", temperature=False, stop=False)
    assert found(FakeEndpoint, with_stop) == VLLM


def test_a_request_that_no_dialect_mends_is_refused(tmp_path: Path) -> None:
    async def find(client: Client) -> None:
        await find_dialect(asking(client), BODY, VLLM)

    with FakeEndpoint() as fake:
        fake.misbehave = lambda number: 400
        with pytest.raises(RequestRefused, match="told to answer 400"):
            run_with_client(fake, tmp_path, find)
    assert fake.requests == 3, "as it is, with another limit, without temperature"


def test_a_request_is_said_as_the_endpoint_takes_it() -> None:
    body = BODY | {"stop": ["\n"], "response_format": {"type": "json_object"}}
    assert VLLM.apply(body) == body and list(VLLM.apply(body)) == list(body)
    sent = REASONING.apply(body)
    assert sent == {
        "model": "fake",
        "messages": BODY["messages"],
        "max_completion_tokens": 8 + 2048,
        "response_format": {"type": "json_object"},
    }
    assert Dialect(stop=False).apply(body) == {name: value for name, value in body.items() if name != "stop"}
    assert str(VLLM) == "" and str(REASONING) == (
        "max_completion_tokens for max_tokens, no temperature, room for 2,048 tokens of thoughts"
    )
