"""What an endpoint says of its limits, and what its answers hold."""

from __future__ import annotations

import json
import time
from email.utils import formatdate

import pytest

from promptstill.endpoint.answers import (
    AttemptFailed,
    EmptyReply,
    error_code,
    error_message,
    read_completions,
    split_thoughts,
    wait_asked,
)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),  # Azure and OpenAI send both
        ({"retry-after": "-1"}, 0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1d2h3m4.5s"}, 93_784.5),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "6m0s"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"}, 30),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_the_wait_that_headers_ask_for(headers: dict[str, str], seconds: float | None) -> None:
    assert wait_asked(headers) == seconds


def test_a_wait_until_a_time_of_day_counts_from_now() -> None:
    at = time.time() + 50
    used_up = {"x-ratelimit-remaining": "0"}
    for headers in (
        {"retry-after": formatdate(at, usegmt=True)},
        used_up | {"x-ratelimit-reset": str(at)},
        used_up | {"x-ratelimit-reset": str(1000 * at)},
    ):
        wait = wait_asked(headers)
        assert wait is not None and 40 < wait < 51


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ('{"error": {"message": "m", "code": "c", "type": "t"}}', "c", "m"),
        ('{"error": {"message": "m", "code": null, "type": "t"}}', "t", "m"),
        ('{"error": "plain"}', "", "plain"),
        ('{"message": "m"}', "", "m"),
        ("[1]", "", "[1]"),
        ("<html>", "", "<html>"),
    ],
)
def test_the_error_in_a_body(body: str, code: str, message: str) -> None:
    assert error_code(body) == code and error_message(body) == message


@pytest.mark.parametrize("text", ["", "{}", '{"choices": []}', '{"choices": [{"message": null}]}', "[]"])
def test_a_body_that_is_no_completion_may_be_asked_for_again(text: str) -> None:
    with pytest.raises(AttemptFailed, match="no chat completion"):
        read_completions(text, 0.1)


def test_a_reply_without_a_token_is_told_from_one_that_was_cut() -> None:
    lost = '{"choices": [{"message": {"content": ""}, "finish_reason": "stop"}], "usage": {"completion_tokens": 0}}'
    with pytest.raises(EmptyReply):
        read_completions(lost, 0.1)
    assert read_completions(lost.replace('"completion_tokens": 0', '"completion_tokens": 1'), 0.1)[0].text == ""
    assert read_completions(lost.replace("stop", "length"), 0.1)[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("content", "thoughts", "answer"),
    [
        ("yes", "", "yes"),
        ("<think>\nhm, no\n</think>\n\nyes", "hm, no", "yes"),
        ("hm, no\n</think>\n\nyes", "hm, no", "yes"),  # the template wrote the beginning
        ("[THINK]hm[/THINK]yes", "hm", "yes"),
        ("<think>\nhm, n", "hm, n", ""),  # cut in its thoughts
        ("<think>", "<think>", ""),
        ("<think></think>yes", "", "yes"),
        ("the tags are <think> and </think>", "", "the tags are <think> and </think>"),
    ],
)
def test_thoughts_in_the_content_are_told_from_the_answer(content: str, thoughts: str, answer: str) -> None:
    assert split_thoughts(content) == (thoughts, answer)


def test_log_probabilities_are_kept_by_token_the_replys_own_first() -> None:
    top = [{"token": "token_id:7", "logprob": -0.1}, {"token": "token_id:3", "logprob": -9999.0}]
    content = [{"token": "token_id:3", "logprob": -9999.0, "top_logprobs": top}, {"token": "a", "logprob": -1}]
    body = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop", "logprobs": {"content": content}}]}
    found = read_completions(json.dumps(body), 0.1)[0].log_probs
    assert found == [{"token_id:3": -9999.0, "token_id:7": -0.1}, {"a": -1.0}] and next(iter(found[0])) == "token_id:3"


@pytest.mark.parametrize(
    "given", [None, {}, [], "x", {"content": None}, {"content": []}, {"content": [{"token": "a"}]}, {"tokens": ["a"]}]
)
def test_log_probabilities_of_another_form_are_none(given: object) -> None:
    body = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop", "logprobs": given}]}
    assert read_completions(json.dumps(body), 0.1)[0].log_probs is None


@pytest.mark.parametrize("place", ["reasoning", "reasoning_content"])
def test_thoughts_beside_the_content_are_kept(place: str) -> None:
    message = {"content": None, place: "hm"}
    usage = {"completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 4}}
    body = {"choices": [{"message": message, "finish_reason": "length"}], "usage": usage}
    completion = read_completions(json.dumps(body), 0.1)[0]
    assert (completion.text, completion.reasoning, completion.reasoning_tokens) == ("", "hm", 4)
