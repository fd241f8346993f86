"""What the client gets for the engine's reply: names, typed outputs, streams, and the engine's failures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serving.variants import ServedModels
from tests.serving.conversation import QA, error_message, get, middleware, post
from tests.serving.upstream import DEAD, USAGE, Upstream
from tests.support import artifacts
from tests.support.bodies import chat_body


def test_the_reply_names_variant_and_artifact(served: ServedModels, access_log: Path) -> None:
    reply = post(middleware(served, Upstream(), access_log), chat_body("qa_raw-prompt", QA), **{"X-Request-Id": "me-1"})
    prompt_id = artifacts.qa_prompt("raw", "fake").id
    assert reply.json()["model"] == reply.headers["x-promptstill-variant"] == "qa_raw-prompt"
    assert reply.json()["system_fingerprint"] == f"qa_raw-prompt@{prompt_id[:12]}"
    assert reply.headers["x-promptstill-artifact"] == prompt_id and reply.headers["x-request-id"] == "me-1"


def test_parsed_gives_typed_outputs(served: ServedModels, access_log: Path) -> None:
    upstream = Upstream('{"number": 5, "reason": "why not"} and so on')
    body = chat_body("pick-prompt", {"words": ["a"], "limit": 9}, parsed=True)
    reply = post(middleware(served, upstream, access_log), body).json()
    assert json.loads(reply["choices"][0]["message"]["content"]) == {"number": 5, "reason": "why not"}
    assert "parsed" not in upstream.bodies[0]


def test_parsed_outputs_may_hold_half_of_a_surrogate_pair(served: ServedModels, access_log: Path) -> None:
    """A model can write its escape, as where its reply is cut off inside an emoji."""
    upstream = Upstream('{"number": 5, "reason": "\\ud83d"}')
    body = chat_body("pick-prompt", {"words": ["a"], "limit": 9}, parsed=True)
    reply = post(middleware(served, upstream, access_log), body).json()
    assert reply["choices"][0]["message"]["content"] == '{"number": 5, "reason": "\\ud83d"}'


def test_a_reply_that_does_not_parse(served: ServedModels, access_log: Path) -> None:
    app = middleware(served, Upstream("lukewarm"), access_log)
    reply = post(app, chat_body("feel-prompt", {"thing": "tea"})).json()
    assert reply["choices"][0]["message"]["content"] == "lukewarm"
    refused = post(app, chat_body("feel-prompt", {"thing": "tea"}, parsed=True))
    assert refused.status_code == 422 and "'lukewarm' is none of hot, cold" in error_message(refused)
    assert 'promptstill_unparsed_replies_total{variant="feel-prompt"} 2.0' in get(app, "/metrics").text


def events(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def test_a_stream_comes_in_order_under_the_variants_name(served: ServedModels, access_log: Path) -> None:
    app = middleware(served, Upstream(), access_log)
    plain = events(post(app, chat_body("qa_raw-prompt", QA, stream=True)).text)
    assert [event["choices"][0]["delta"]["content"] for event in plain] == [" 18", "91", ""]
    assert {event["model"] for event in plain} == {"qa_raw-prompt"}
    with_usage = chat_body("qa_raw-prompt", QA, stream=True, stream_options={"include_usage": True})
    counted = events(post(app, with_usage).text)
    assert counted[:-1] == plain and counted[-1]["usage"] == USAGE
    line = json.loads(access_log.read_text().splitlines()[0])
    assert (line["stream"], line["prompt_tokens"], line["cached_tokens"]) == (True, 100, 64)


@pytest.mark.parametrize("name", ["qa_raw-prompt", "fake"])
def test_a_dead_engine_is_a_503(served: ServedModels, access_log: Path, name: str) -> None:
    app = middleware(served, Upstream(error=(500, DEAD)), access_log)
    for stream in (False, True):
        refused = post(app, chat_body(name, QA, stream=stream))
        assert refused.status_code == 503 and "has died" in error_message(refused)
    assert [json.loads(line)["error"] for line in access_log.read_text().splitlines()] == ["engine", "engine"]


def test_other_failures_of_the_engine_are_passed_on(served: ServedModels, access_log: Path) -> None:
    app = middleware(served, Upstream(error=(500, {"error": {"message": "odd"}})), access_log)
    assert error_message(post(app, chat_body("fake", QA))) == "odd"
    app = middleware(served, Upstream(error=(400, {"error": {"message": "too long"}})), access_log)
    assert error_message(post(app, chat_body("qa_raw-prompt", QA))) == "too long"


def test_a_reply_that_a_stopping_engine_cut_off_is_a_503(served: ServedModels, access_log: Path) -> None:
    refused = post(middleware(served, Upstream("", finish="abort"), access_log), chat_body("qa_raw-prompt", QA))
    assert refused.status_code == 503 and "stopping" in error_message(refused)
