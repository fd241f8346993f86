"""The counting proxy: what it counts, what it refuses, and what it passes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from benchmarks.contest.proxy import REFUSED, Account, Proxy
from tests.support.fake import FakeEndpoint


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def proxy(fake: FakeEndpoint) -> Iterator[Proxy]:
    with Proxy(fake.base_url) as running:
        yield running


def ask(proxy: Proxy, account: str, text: str, **fields: object) -> httpx.Response:
    body = {"model": "fake", "messages": [{"role": "user", "content": text}], **fields}
    return httpx.post(f"{proxy.base_url(account)}/chat/completions", json=body, trust_env=False, timeout=30)


def test_each_account_counts_its_own_calls_and_the_tokens_of_their_usage(proxy: Proxy, fake: FakeEndpoint) -> None:
    one, other = proxy.open("one", marks=(2,)), proxy.open("other")
    replies = [ask(proxy, "one", f"say {n}").json() for n in range(3)]
    assert [reply["choices"][0]["message"]["content"] for reply in replies] == ["0", "1", "2"]
    assert one.spent.calls == 3 and other.spent.calls == 0
    assert one.spent.prompt_tokens == sum(reply["usage"]["prompt_tokens"] for reply in replies)
    assert one.spent.completion_tokens == sum(reply["usage"]["completion_tokens"] for reply in replies)
    assert one.at(2).calls == 2 and one.at(2).seconds <= one.spent.seconds
    assert one.at(9) == one.spent, "a mark that was not passed is answered by what is spent"
    spent = httpx.get(f"{proxy.base_url('one')}/spent", trust_env=False).json()
    assert spent["calls"] == 3 and spent["refused"] == 0
    assert len(fake.bodies) == 3


def test_beyond_the_cap_calls_are_refused_and_never_reach_the_endpoint(proxy: Proxy, fake: FakeEndpoint) -> None:
    account = proxy.open("capped", cap=5)
    fake.delay_s = 0.1
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda n: ask(proxy, "capped", f"say {n}"), range(16)))
    assert sorted(reply.status_code for reply in replies) == [200] * 5 + [403] * 11
    assert account.spent.calls == 5 and account.refused == 11 and len(fake.bodies) == 5
    refused = next(reply for reply in replies if reply.status_code == 403)
    assert REFUSED in refused.json()["error"]["message"]


def test_a_call_that_the_endpoint_fails_is_passed_on_and_not_counted(proxy: Proxy, fake: FakeEndpoint) -> None:
    account = proxy.open("one", cap=1)
    fake.misbehave = lambda number: 429 if number == 1 else None
    assert ask(proxy, "one", "say it").status_code == 429
    assert account.spent.calls == 0 and account.in_flight == 0
    assert ask(proxy, "one", "say it").status_code == 200
    assert account.spent.calls == 1


def test_models_are_the_endpoints_and_an_account_that_was_not_opened_is_none(proxy: Proxy) -> None:
    proxy.open("one")
    assert httpx.get(f"{proxy.base_url('one')}/models", trust_env=False).json()["data"] == [{"id": "fake"}]
    assert ask(proxy, "nobody", "say it").status_code == 404


def test_streaming_is_refused_for_it_would_hide_usage(proxy: Proxy) -> None:
    account = proxy.open("one")
    assert ask(proxy, "one", "say it", stream=True).status_code == 400
    assert ask(proxy, "one", 'the word "stream" is no stream', stream=False).status_code == 200
    assert account.spent.calls == 1


def test_an_endpoint_that_is_gone_is_502(proxy: Proxy) -> None:
    proxy.open("one")
    proxy.upstream = "http://127.0.0.1:9/v1"
    reply = ask(proxy, "one", "say it")
    assert reply.status_code == 502 and "did not answer" in json.loads(reply.text)["error"]["message"]


def test_a_call_in_flight_holds_its_place() -> None:
    account = Account(cap=1)
    assert account.enter() and not account.enter()
    account.in_flight -= 1
    assert account.enter() and account.refused == 1
