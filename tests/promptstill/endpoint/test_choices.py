"""Several samples by one request, where the endpoint gives several choices: each stored, counted and asked for once."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from promptstill.endpoint.allowance import LimitReached, Limits
from promptstill.endpoint.choices import complete_many
from promptstill.endpoint.client import Client
from promptstill.endpoint.store import Completion, Total
from promptstill.engine.vllm import Engine
from promptstill.errors import RequestRefused
from tests.support.client import run_with_client
from tests.support.fake import Body, FakeEndpoint
from tests.support.providers.openai import OpenAIReasoning
from tests.support.providers.others import Ollama

SAMPLES = (1, 2, 3, 4)


def body(text: str = "a longer question") -> Body:
    return {"model": "fake", "messages": [{"role": "user", "content": text}]}


def ask(*texts: str) -> Callable[[Client], Awaitable[list[list[Completion]]]]:
    """Asks the four samples of each of these questions, all at once."""

    async def work(client: Client) -> list[list[Completion]]:
        return list(await asyncio.gather(*(complete_many(client, body(text), "teacher", SAMPLES) for text in texts)))

    return work


def stored(fake: FakeEndpoint, folder: Path) -> Total:
    """What the store has counted."""

    async def work(client: Client) -> Total:
        return client.store.totals()["teacher"]

    return run_with_client(fake, folder, work)


def test_one_request_gives_all_samples_and_a_resume_asks_for_none(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        first = run_with_client(fake, tmp_path, ask("one", "two", "three"))
        again = run_with_client(fake, tmp_path, ask("one", "two", "three"))
        single = run_with_client(fake, tmp_path, lambda client: client.complete(body("two"), "teacher", 3))
    assert first == again and single == first[1][2]
    assert fake.requests == 3 and all(sent["n"] == 4 for sent in fake.bodies)
    counted = [fake.usage(sent, text)["usage"] for sent, text in zip(fake.bodies, ("one", "two", "three"), strict=True)]
    prompts, replies = (sum(one[name] for one in counted) for name in ("prompt_tokens", "completion_tokens"))
    assert stored(fake, tmp_path) == Total(12, prompts, 4 * replies), "the prompt is paid for once"


@pytest.mark.parametrize(("make", "wasted"), [(Ollama, 0), (OpenAIReasoning, 1)])
def test_where_one_choice_comes_each_sample_is_asked_for_alone(
    make: Callable[..., FakeEndpoint], wasted: int, tmp_path: Path
) -> None:
    with make() as fake:
        found = run_with_client(fake, tmp_path, ask("one", "two", "three"))
    assert [[one.text for one in row] for row in found] == [["one"] * 4, ["two"] * 4, ["three"] * 4]
    assert fake.requests == 12 + wasted, "it is found out once"
    assert stored(fake, tmp_path).calls == 12


def test_what_is_stored_is_not_asked_for_again(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        for sample in (2, 4):
            run_with_client(fake, tmp_path, partial(Client.complete, body=body("one"), role="teacher", sample=sample))
        run_with_client(fake, tmp_path, ask("one"))
    assert [sent.get("n") for sent in fake.bodies] == [None, None, 2]


def test_equal_rows_are_asked_once(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        fake.delay_s = 0.02
        first, second, _ = run_with_client(fake, tmp_path, ask("one", "one", "two"))
    assert first == second and fake.requests == 2 and fake.calls.total() == 8


def test_a_limit_counts_each_sample(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        with pytest.raises(LimitReached):
            run_with_client(fake, tmp_path, ask("one", "two"), Limits(calls=6))
        assert fake.calls.total() == 6 == stored(fake, tmp_path).calls
        run_with_client(fake, tmp_path, ask("one", "two"), Limits(calls=8))
    assert fake.calls.total() == 8


def test_a_lost_reply_is_asked_for_alone_and_a_refused_row_is_refused(tmp_path: Path) -> None:
    class Losing(FakeEndpoint):
        def message(self, body: Body, text: str) -> Body:
            return {"content": None if "n" in body else text}

        def usage(self, body: Body, text: str) -> Body:
            return {} if "n" in body else super().usage(body, text)

    with Losing() as fake:
        (found,) = run_with_client(fake, tmp_path, ask("one"))
    assert [one.text for one in found] == ["one"] * 4 and fake.requests == 1 + 4
    with FakeEndpoint() as refusing:
        refusing.misbehave = lambda number: 400
        with pytest.raises(RequestRefused):
            run_with_client(refusing, tmp_path, ask("two"))
    assert refusing.requests == 2, "with n and without"


def test_the_tokens_of_choices_add_up_to_what_the_answer_counts(tmp_path: Path) -> None:
    class Talking(FakeEndpoint):
        def usage(self, body: Body, text: str) -> Body:
            counts: dict[str, Any] = {"prompt_tokens": 10, "completion_tokens": 7}
            return {"usage": counts | {"completion_tokens_details": {"reasoning_tokens": 5}}}

    with Talking() as fake:
        (found,) = run_with_client(fake, tmp_path, ask("one"))
    assert [one.prompt_tokens for one in found] == [10, 0, 0, 0]
    assert sum(one.completion_tokens for one in found) == 28 and sum(one.reasoning_tokens for one in found) == 5


def posts(engine: Engine) -> int:
    """The chat requests that vLLM has answered, by its own count."""
    with urllib.request.urlopen(engine.base_url.removesuffix("/v1") + "/metrics", timeout=60) as response:
        lines = [line for line in response.read().decode().splitlines() if line.startswith("http_requests_total{")]
    counts = [float(line.rpartition(" ")[2]) for line in lines if re.search('handler="/v1/chat/completions"', line)]
    return round(sum(counts))


@pytest.mark.e2e
def test_vllm_gives_all_samples_by_one_request(engine: Engine, tmp_path: Path) -> None:
    question = {"model": engine.model, "messages": [{"role": "user", "content": "Tell me of a cat."}]}
    sampled = question | {"temperature": 1.0, "max_tokens": 12}
    before = posts(engine)
    found = run_with_client(engine, tmp_path, lambda client: complete_many(client, sampled, "teacher", SAMPLES))
    assert posts(engine) == before + 1
    assert len({one.text for one in found}) > 1 and sum(one.completion_tokens for one in found) == 4 * 12
    assert found[0].prompt_tokens > 0 and [one.prompt_tokens for one in found[1:]] == [0, 0, 0]
    again = run_with_client(engine, tmp_path, lambda client: complete_many(client, sampled, "teacher", SAMPLES))
    third = run_with_client(engine, tmp_path, lambda client: client.complete(sampled, "teacher", 3))
    assert again == found and third == found[2] and posts(engine) == before + 1, "each is stored as a draw of its own"
