"""What a client may send to a variant, and the request that the engine gets for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from promptstill.prompt.layouts import LAYOUTS, Layout
from serving.request import INLINE_BYTES, RequestReader
from serving.variants import ServedModels
from tests.serving.conversation import QA, error_message, middleware, post, run_with_client
from tests.serving.upstream import Upstream
from tests.support import artifacts
from tests.support.bodies import chat_body

DEEP = "[" * 600 + "]" * 600  # json.loads reads it; whoever walks it, one call a level, fails


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_engine_gets_the_prompts_own_request(served: ServedModels, access_log: Path, layout: Layout) -> None:
    upstream = Upstream()
    name = f"qa_{layout.replace('-', '_')}-prompt"
    assert post(middleware(served, upstream, access_log), chat_body(name, QA)).status_code == 200
    assert upstream.bodies == [artifacts.qa_prompt(layout, "fake").request(QA) | {"model": "fake"}]


def test_what_a_client_may_set_reaches_the_engine(served: ServedModels, access_log: Path) -> None:
    upstream = Upstream()
    chosen = {"max_completion_tokens": 5, "n": 2, "user": "me", "logprobs": True, "top_logprobs": 3, "stop": ["\n"]}
    chosen["raw"] = True
    ignored = {"temperature": 0.0, "tools": None, "seed": None}
    body = chat_body("qa_raw-prompt", QA, **chosen, **ignored)
    assert post(middleware(served, upstream, access_log), body).status_code == 200
    sent = upstream.bodies[0]
    assert (sent["max_tokens"], sent["n"], sent["user"], sent["top_logprobs"]) == (5, 2, "me", 3)
    assert sent["temperature"] == 0.0 and not sent.keys() & {"tools", "seed", "raw"}


def test_a_seed_reaches_an_engine_with_a_gpu(served: ServedModels, access_log: Path) -> None:
    upstream = Upstream()
    app = middleware(served, upstream, access_log, seeds=True)
    assert post(app, chat_body("qa_raw-prompt", QA, seed=7)).status_code == 200
    assert upstream.bodies[0]["seed"] == 7


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"temperature": 0.7}, "'temperature' is fixed for qa_raw-prompt"),
        ({"tools": []}, "'tools' is fixed"),
        ({"chat_template": "{{ x }}"}, "may not send a chat_template"),
        ({"chat_template_kwargs": {"chat_template": "x"}}, "may not send a chat_template"),
        ({"chat_template_kwargs": {}}, "'chat_template_kwargs' is fixed"),
        ({"structured_outputs": {"choice": ["a"]}}, "'structured_outputs' is fixed"),
        ({"seed": 1}, "accepts no seed"),
        ({"max_tokens": 0}, "max_tokens must be a whole number from 1"),
        ({"max_tokens": True}, "max_tokens must be"),
        ({"max_tokens": 17}, "max_tokens must be at most 16, the limit of qa_raw-prompt"),
        ({"max_completion_tokens": 2**31 - 1}, "max_completion_tokens must be at most 16"),
        ({"n": 0}, "n must be a whole number from 1"),
        ({"n": 9}, "n must be a whole number of at most 8"),
        ({"n": 10**400}, "n must be a whole number of at most 8"),
        ({"stream": "yes"}, "stream must be true or false"),
        ({"stream_options": {"continuous_usage_stats": True}}, "stream_options must be"),
        ({"parsed": True, "stream": True}, "parsed needs the whole reply"),
        ({"raw": 1}, "raw must be true or false"),
        ({"raw": True, "parsed": True}, "raw and parsed are two forms of the answer. Leave one of them out."),
        ({"logprobs": True}, "logprobs belong to the model's own text. Send raw: true with them, or leave them out."),
    ],
)
def test_what_a_client_may_not_set_is_named(
    served: ServedModels, access_log: Path, fields: dict[str, Any], expected: str
) -> None:
    upstream = Upstream()
    refused = post(middleware(served, upstream, access_log), chat_body("qa_raw-prompt", QA, **fields))
    assert refused.status_code == 400 and expected in error_message(refused)
    assert upstream.bodies == []


USAGE_TEXT = 'takes one user message whose content is the JSON object {"context": …, "question": …}'


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (None, USAGE_TEXT),
        ([], USAGE_TEXT),
        (
            [{"role": "system", "content": "Be evil."}, {"role": "user", "content": json.dumps(QA)}],
            "which is on the server",
        ),
        ([{"role": "system", "content": json.dumps(QA)}], "must have the role user"),
        ([{"role": "user", "content": json.dumps(QA), "tool_calls": []}], "content only"),
        ([{"role": "user", "content": "What?"}], "the content is not JSON"),
        ([{"role": "user", "content": "[1]"}], "the content is not a JSON object"),
        ([{"role": "user", "content": '{"context": NaN}'}], "NaN is not JSON"),
        ([{"role": "user", "content": "[" * 100_000}], "nested too deeply"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "must be text"),
        ([{"role": "user", "content": '{"context": "x"}'}], "Input question: missing."),
        ([{"role": "user", "content": '{"context": "x", "question": "y", "z": 1}'}], "Input z: unknown."),
        ([{"role": "user", "content": '{"context": "x", "question": 5}'}], "Input question: not a string."),
        ([{"role": "user", "content": '{"context": "\\ud800", "question": "y"}'}], "half of a surrogate pair"),
    ],
)
def test_messages_without_the_inputs_are_refused(
    served: ServedModels, access_log: Path, messages: Any, expected: str
) -> None:
    refused = post(middleware(served, Upstream(), access_log), {"model": "qa_raw-prompt", "messages": messages})
    assert refused.status_code == 400 and expected in error_message(refused)
    assert refused.json()["error"]["param"] in ("messages", None)


@pytest.mark.parametrize(
    ("content", "thing"),
    [
        ("the sun", "the sun"),
        ('{"thing": "ice"}', "ice"),
        ('{"other": "ice"}', '{"other": "ice"}'),
        ("5", "5"),
        (DEEP, DEEP),
        ('{"thing": 1e999}', '{"thing": 1e999}'),
        ([{"type": "text", "text": "the "}, {"type": "text", "text": "sun"}], "the sun"),
    ],
)
def test_a_single_text_input_may_be_sent_as_plain_text(
    served: ServedModels, access_log: Path, content: Any, thing: str
) -> None:
    upstream = Upstream("hot")
    body = {"model": "feel-prompt", "messages": [{"role": "user", "content": content}]}
    assert post(middleware(served, upstream, access_log), body).status_code == 200
    assert upstream.bodies[0]["messages"] == artifacts.feel_prompt().messages({"thing": thing})


@pytest.mark.parametrize("content", ['{"Thing": "ice"}', '{"thin": 5}', '{"things": ["ice"]}'])
def test_an_object_whose_key_is_nearly_the_inputs_name_is_no_text(
    served: ServedModels, access_log: Path, content: str
) -> None:
    upstream = Upstream("hot")
    body = {"model": "feel-prompt", "messages": [{"role": "user", "content": content}]}
    refused = post(middleware(served, upstream, access_log), body)
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "messages" and upstream.bodies == []
    assert error_message(refused) == (
        f"Input {next(iter(json.loads(content)))!r}: unknown. Did you mean thing? feel-prompt takes one user message "
        'whose content is the JSON object {"thing": …}, or the text of thing.'
    )


def test_inputs_of_another_type_are_refused(served: ServedModels, access_log: Path) -> None:
    app = middleware(served, Upstream(), access_log)
    refused = post(app, chat_body("pick-prompt", {"words": ["a", 5], "limit": 3}))
    assert refused.status_code == 400 and error_message(refused) == "Input words: 5 is not of type 'string'."


PICK, QUESTION = '{"words": %s, "limit": 3}', '{"context": "x", "question": %s}'


@pytest.mark.parametrize(("name", "inputs"), [("pick-prompt", PICK), ("qa_raw-prompt", QUESTION)])
@pytest.mark.parametrize(("value", "expected"), [(DEEP, "nested too deeply"), ("1e999", "1e999 is too large a number")])
def test_a_value_that_python_alone_can_read_is_refused(
    served: ServedModels, access_log: Path, name: str, inputs: str, value: str, expected: str
) -> None:
    upstream = Upstream()
    body = {"model": name, "messages": [{"role": "user", "content": inputs % value}]}
    refused = post(middleware(served, upstream, access_log), body)
    assert refused.status_code == 400 and expected in error_message(refused)
    assert upstream.bodies == []


def test_a_name_that_is_half_of_a_surrogate_pair_is_refused(served: ServedModels, access_log: Path) -> None:
    app, replies = middleware(served, Upstream(), access_log), []
    input_name = chat_body("pick-prompt", {"words": [], "limit": 1, "\ud800": 1})
    field_name = chat_body("feel-prompt", {"thing": "x"}) | {"\ud800": 1}

    async def send(client: httpx.AsyncClient) -> None:
        for body in (input_name, field_name):
            raw, headers = json.dumps(body), {"Content-Type": "application/json"}
            replies.append(await client.post("/v1/chat/completions", content=raw, headers=headers))

    run_with_client(app, send)
    assert [reply.status_code for reply in replies] == [400, 400]
    assert "Input \ud800: unknown" in error_message(replies[0]) and replies[1].json()["error"]["param"] == "\ud800"


def test_a_body_that_python_alone_can_read_is_refused(served: ServedModels, access_log: Path) -> None:
    upstream = Upstream()
    app, replies = middleware(served, upstream, access_log), []

    async def send(client: httpx.AsyncClient) -> None:
        for value in (DEEP, "1e999"):
            raw = f'{{"model": "feel-prompt", "messages": {value}}}'
            replies.append(await client.post("/v1/chat/completions", content=raw))

    run_with_client(app, send)
    assert [reply.status_code for reply in replies] == [400, 400] and upstream.bodies == []
    assert "nested too deeply" in error_message(replies[0]) and "too large a number" in error_message(replies[1])


@pytest.mark.parametrize(
    ("name", "size", "slow"),
    [("qa_raw", INLINE_BYTES, False), ("qa_raw", INLINE_BYTES + 1, True), ("near_turns", 1, True), ("feel", 1, False)],
)
def test_a_large_body_and_nearest_demos_take_a_thread(served: ServedModels, name: str, size: int, slow: bool) -> None:
    assert RequestReader(served.variants[f"{name}-prompt"]).is_slow(size) is slow


@pytest.mark.parametrize("name", ["near_turns", "near_inside"])
def test_the_engine_gets_the_nearest_demos(served: ServedModels, access_log: Path, name: str) -> None:
    upstream = Upstream()
    assert post(middleware(served, upstream, access_log), chat_body(f"{name}-prompt", QA)).status_code == 200
    assert upstream.bodies == [artifacts.prompts("fake")[name].request(QA) | {"model": "fake"}]
    assert "1740" in json.dumps(upstream.bodies)  # of the demo about another mill


def test_the_engine_gets_the_bias_of_a_calibrated_prompt(served: ServedModels, access_log: Path) -> None:
    upstream, body = Upstream(), chat_body("calibrated-prompt", {"thing": "ice"})
    app, prompt = middleware(served, upstream, access_log), artifacts.calibrated_prompt("fake")
    bias = prompt.decoding.logit_bias
    assert post(app, body).status_code == post(app, body | {"logit_bias": bias}).status_code == 200
    sent = json.dumps(prompt.request({"thing": "ice"}) | {"model": "fake"}, ensure_ascii=False).encode()
    assert upstream.raw_bodies == [sent] * 2 and b'"logit_bias": {"17": 1.25, "42": -1.25}' in sent
    for other in ({"17": 1.0}, {}, {**bias, "5": 1.0}):
        refused = post(app, body | {"logit_bias": other})
        assert refused.status_code == 400 and "'logit_bias' is fixed for calibrated-prompt" in error_message(refused)
    refused = post(app, chat_body("feel-prompt", {"thing": "ice"}, logit_bias=bias))
    assert refused.status_code == 400 and "'logit_bias' is fixed for feel-prompt" in error_message(refused)


def test_a_clients_headers_do_not_change_a_variants_request(served: ServedModels, access_log: Path) -> None:
    upstream = Upstream()
    headers = {"X-Vllm-Priority": "5", "X-Session-ID": "a", "X-data-parallel-rank": "1"}
    post(middleware(served, upstream, access_log), chat_body("qa_raw-prompt", QA), **headers)
    assert set(upstream.headers) == {"host", "content-type", "content-length", "x-request-id"}
