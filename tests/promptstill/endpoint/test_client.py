"""The client: each call made once, failures retried or reported, limits kept."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from promptstill.endpoint.allowance import Allowance, LimitReached, Limits
from promptstill.endpoint.client import EMPTY_ATTEMPTS, Client, served_models
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.failures import raise_for_status
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
def test_calls_that_fail_now_and_then_lose_nothing(status: int, tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        fake.misbehave = lambda number: status if number % 8 == 1 else None
        fake.failure = ({}, {"Retry-After": "0"})
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


def refuse(fake: FakeEndpoint, status: int, headers: dict[str, str], **error: str) -> None:
    """Let every request fail."""
    fake.misbehave, fake.failure = lambda number: status, (error, headers)


def test_a_limit_that_lets_nobody_through_stops_the_run_when_patience_ends(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        refuse(fake, 429, {})
        with pytest.raises(InfrastructureError, match="has answered no request for 0 s") as caught:
            ask(fake, ["a"], tmp_path, patience_s=0.1)
    assert "told to answer 429" in caught.value.why and "--patience" in caught.value.do


def test_a_wait_longer_than_patience_is_not_begun(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        refuse(fake, 429, {"Retry-After": "3600"})
        with pytest.raises(InfrastructureError, match="or will not") as caught:
            ask(fake, ["a"], tmp_path)
    assert "It asks to wait 60 min" in caught.value.why and fake.requests == 1


@pytest.mark.parametrize(("status", "code"), [(429, "insufficient_quota"), (402, "any")])
def test_a_key_without_quota_is_no_rate_limit(status: int, code: str, tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        refuse(fake, status, {}, code=code)
        with pytest.raises(UserError, match="no money or quota left"):
            ask(fake, ["a"], tmp_path)
    assert fake.requests == 1


def test_a_reply_that_a_gateway_lost_is_asked_for_again(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        fake.loses = lambda number: number == 1
        allowance = ask(fake, ["a"], tmp_path)
        assert fake.requests == 2 and allowance.total.calls == 1
        fake.loses = lambda number: True
        assert ask(fake, ["b"], tmp_path).total.calls == 2, "a model that says nothing is believed in the end"
    assert fake.requests == 2 + EMPTY_ATTEMPTS


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


def test_an_equal_request_of_a_part_that_is_used_up_does_not_end_another_part(tmp_path: Path) -> None:
    """Two parts ask the same; the first waits for its place, and its allowance is used up meanwhile."""

    async def ask_both(client: Client) -> list[Any]:
        poor, rich = client.paid_by(Allowance(Limits(calls=0))), client.paid_by(Allowance())
        asked = (part.complete(request("same"), "task") for part in (poor, rich))
        return await asyncio.gather(*asked, return_exceptions=True)

    with FakeEndpoint() as fake:
        refused, answered = run_with_client(fake, tmp_path, ask_both)
    assert isinstance(refused, LimitReached) and answered.text == "same"


def test_who_joins_a_request_that_is_cancelled_asks_itself(tmp_path: Path) -> None:
    async def ask_both(client: Client) -> str:
        first = asyncio.create_task(client.complete(request("same"), "task"))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(client.complete(request("same"), "task"))
        await asyncio.sleep(0.05)
        first.cancel()
        return (await second).text

    with FakeEndpoint() as fake:
        fake.delay_s = 0.5
        assert run_with_client(fake, tmp_path, ask_both) == "same"


def test_the_models_of_an_endpoint_are_listed() -> None:
    with FakeEndpoint() as fake:
        assert [model["id"] for model in asyncio.run(served_models(Endpoint(fake.base_url, "w")))] == ["fake"]
    with pytest.raises(InfrastructureError, match="does not answer"):
        asyncio.run(served_models(Endpoint(fake.base_url, "w")))
