"""The client: each call made once, failures retried or reported, limits kept."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from promptstill.endpoint.allowance import Allowance, LimitReached, Limits
from promptstill.endpoint.client import Client, Endpoint, raise_for_status, served_models
from promptstill.errors import InfrastructureError, RequestRefused, UserError
from tests.support.client import run_with_client
from tests.support.fake import FakeEndpoint


def request(text: str) -> dict[str, Any]:
    return {"model": "fake", "messages": [{"role": "user", "content": text}], "temperature": 0.0, "max_tokens": 8}


def ask(fake: FakeEndpoint, texts: list[str], folder: Path, limits: Limits | None = None, **endpoint: Any) -> Allowance:
    """Ask all texts at once; the allowance afterwards."""

    async def ask_all(client: Client) -> Allowance:
        await asyncio.gather(*(client.complete(request(text), "task") for text in texts))
        return client.allowance

    return run_with_client(fake, folder, ask_all, limits, **endpoint)


def test_no_request_is_sent_twice(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        first = ask(fake, ["a", "b", "a", "b"], tmp_path)
        again = ask(fake, ["a", "b", "c"], tmp_path)
    assert sorted(fake.calls.values()) == [1, 1, 1]
    assert first.total.calls == 2 and again.total.calls == 3 and again.reused == 2


def test_a_stored_completion_is_found_without_a_call(tmp_path: Path) -> None:
    async def find(client: Client) -> None:
        assert client.find_stored(request("a")) is None
        completion = await client.complete(request("a"), "task")
        assert client.find_stored(request("a")) == completion

    with FakeEndpoint() as fake:
        run_with_client(fake, tmp_path, find)
    assert sum(fake.calls.values()) == 1


def test_the_window_is_kept_full_and_never_exceeded(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        fake.delay_s = 0.02
        ask(fake, [str(i) for i in range(60)], tmp_path, window=8)
    assert fake.most_in_flight == 8


@pytest.mark.parametrize("status", [429, 500, 503])
def test_half_of_the_calls_failing_loses_nothing(status: int, tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        fake.misbehave = lambda number: status if number % 2 else None
        allowance = ask(fake, [str(i) for i in range(30)], tmp_path)
    assert allowance.total.calls == 30 and set(fake.calls.values()) == {1}


def test_a_dead_endpoint_stops_the_run(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        pass
    with pytest.raises(InfrastructureError, match="does not answer"):
        ask(fake, ["a"], tmp_path, patience_s=0.1)


def test_an_engine_that_has_ended_is_not_waited_for_and_its_log_is_shown(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        pass
    with pytest.raises(InfrastructureError) as caught:
        ask(fake, ["a"], tmp_path, exit_report=lambda: "log: engine.log\nkilled")
    assert caught.value.why.endswith("\nlog: engine.log\nkilled")


def test_a_wrong_key_is_the_users_to_mend(tmp_path: Path) -> None:
    with FakeEndpoint(key="right") as fake, pytest.raises(UserError) as caught:
        ask(fake, ["a"], tmp_path, api_key="wrong", key_name="MY_KEY")
    assert caught.value.do == "Set it: export MY_KEY=…" and "invalid api key" in caught.value.why


@pytest.mark.parametrize("status", [401, 400])
def test_a_key_that_the_endpoint_repeats_is_not_shown(status: int) -> None:
    endpoint = Endpoint("http://h/v1", "weights", "sk-sesame-0123", "MY_KEY")
    with pytest.raises((UserError, RequestRefused), match=r"no such key: \$MY_KEY") as caught:
        raise_for_status(endpoint, status, '{"error": {"message": "no such key: sk-sesame-0123"}}')
    assert "sesame" not in str(caught.value) + repr(endpoint)
    with pytest.raises((UserError, RequestRefused), match="none is wrong"):
        raise_for_status(Endpoint("http://h/v1", "weights", "none"), status, '{"error": "none is wrong"}')


def test_a_refused_request_fails_alone(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        fake.misbehave = lambda number: 400
        with pytest.raises(RequestRefused, match="told to answer 400"):
            ask(fake, ["a"], tmp_path)


def test_no_call_goes_beyond_a_limit(tmp_path: Path) -> None:
    with FakeEndpoint() as fake, pytest.raises(LimitReached, match="--max-calls 5"):
        ask(fake, [str(i) for i in range(20)], tmp_path, Limits(calls=5))
    assert sum(fake.calls.values()) <= 5


def test_the_models_of_an_endpoint_are_listed() -> None:
    with FakeEndpoint() as fake:
        assert [model["id"] for model in asyncio.run(served_models(Endpoint(fake.base_url, "w")))] == ["fake"]
    with pytest.raises(InfrastructureError, match="does not answer"):
        asyncio.run(served_models(Endpoint(fake.base_url, "w")))
