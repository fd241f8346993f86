"""What the client gets for the engine's reply: names, typed outputs, streams, and the engine's failures."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptstill.prompt.fields import as_text
from promptstill.prompt.layouts import LAYOUTS
from promptstill.prompt.layouts.build import build_prompt
from serving.request import RequestReader
from serving.response import ClientStream, Usage, client_reply, outputs_text
from serving.samples import sample_inputs
from serving.variants import ServedModels, Variant, load_variants
from tests.serving.conversation import QA, error_message, get, middleware, post
from tests.serving.upstream import DEAD, USAGE, Upstream
from tests.support import artifacts
from tests.support.bodies import chat_body, cuts, pieces, replies
from tests.support.tasks import ANSWER, SORT, SORT_OUTPUTS


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


PICK, THING = {"words": ["a"], "limit": 9}, {"thing": "tea"}
JSON_ANSWER = '{\n  "answer": " 1891 "\n}'
MARKED_ANSWER = "Sure.\n[[ ## answer ## ]]\n 1891 \n\n[[ ## completed ## ]]"
FORMS = [
    ("qa_raw", QA, " 1891\n", "1891"),
    ("qa_chat", QA, "Answer: in 1891", "in 1891"),
    ("qa_inline", QA, " \n", " \n"),
    ("qa_json", QA, JSON_ANSWER, "1891"),
    ("qa_json", QA, '{"answer": "18', '{"answer": "18'),
    ("qa_dspy_chat", QA, MARKED_ANSWER, "1891"),
    ("qa_dspy_chat", QA, "I do not know.", "I do not know."),
    ("feel", THING, "Hot.", "hot"),
    ("feel", THING, "lukewarm\n", "lukewarm\n"),
    ("form", {"entries": {}}, " 1,200", "1200"),
    ("pick", PICK, '{"reason": "é", "number": "5", "more": 1}', '{"number":5,"reason":"é"}'),
]


@pytest.mark.parametrize(("name", "inputs", "reply", "expected"), FORMS)
def test_the_answer_has_one_form_in_every_layout(
    served: ServedModels, access_log: Path, name: str, inputs: dict[str, Any], reply: str, expected: str
) -> None:
    """The value alone, or an object of several; the reply itself where it does not parse. Streamed as whole."""
    app, body = middleware(served, Upstream(reply), access_log), chat_body(f"{name}-prompt", inputs, n=2)
    for more, wanted in (({}, expected), ({"raw": True}, reply)):
        whole = post(app, body | more).json()["choices"]
        assert [choice["message"]["content"] for choice in whole] == [wanted, wanted]
        streamed = events(post(app, body | more | {"stream": True}).text)
        assert contents(streamed) == {0: wanted, 1: wanted}
        assert [event["choices"][0]["finish_reason"] for event in streamed].count("stop") == 2


def contents(streamed: list[Any]) -> dict[int, str]:
    """What a client puts together, by choice."""
    texts: dict[int, str] = defaultdict(str)
    for choice in (choice for event in streamed for choice in event["choices"]):
        texts[choice["index"]] += choice["delta"].get("content") or ""
    return dict(texts)


def test_each_choice_is_read_on_its_own(served: ServedModels) -> None:
    request = RequestReader(served.variants["feel-prompt"]).read(chat_body("", THING, n=2))
    usage = Usage()
    choices = [{"index": i, "message": {"content": text}} for i, text in enumerate(("Cold", "mild"))]
    reply = json.loads(client_reply(request, json.dumps({"choices": choices}).encode(), usage))
    assert [choice["message"]["content"] for choice in reply["choices"]] == ["cold", "mild"] and usage.unparsed == 1


def test_a_list_is_json(served: ServedModels) -> None:
    assert outputs_text({"tags": ["a", "é\ud83d"]}) == '["a","é\\ud83d"]'
    assert [outputs_text({"x": value}) for value in (None, True, 1.5, " ")] == ["null", "true", "1.5", " "]


def test_reasoning_before_an_answer_is_left_out_as_a_student_has_none() -> None:
    assert outputs_text({"reasoning": "It is the capital.", "answer": "Rome"}) == "Rome"
    assert outputs_text({"reasoning": "So.", "team": "bug", "urgent": True}) == '{"team":"bug","urgent":true}'
    assert outputs_text({"reasoning": "All there is."}) == "All there is."


def events(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def test_a_stream_comes_in_order_under_the_variants_name(served: ServedModels, access_log: Path) -> None:
    app = middleware(served, Upstream(), access_log)
    plain = events(post(app, chat_body("qa_raw-prompt", QA, stream=True)).text)
    assert [(one["choices"][0]["delta"], one["choices"][0]["finish_reason"]) for one in plain] == [
        ({"role": "assistant", "content": ""}, None),
        ({"content": "18"}, None),
        ({"content": "91"}, None),
        ({"content": ""}, "stop"),
    ]
    assert {event["model"] for event in plain} == {"qa_raw-prompt"}
    with_usage = chat_body("qa_raw-prompt", QA, stream=True, stream_options={"include_usage": True})
    counted = events(post(app, with_usage).text)
    assert counted[:-1] == plain and counted[-1]["usage"] == USAGE
    line = json.loads(access_log.read_text().splitlines()[0])
    assert (line["stream"], line["prompt_tokens"], line["cached_tokens"]) == (True, 100, 64)


@pytest.mark.parametrize(
    ("name", "reply", "deltas"),
    [
        ("qa_chat", "in the year 1891", ["", "in", " the", " ye", "ar", " 189", "1", ""]),
        ("qa_dspy_chat", "[[ ## answer ## ]]\nold [[mill", ["", "ol", "d [", "[mi", "ll", ""]),
        ("qa_json", JSON_ANSWER, ["", "1891", ""]),
        ("feel", "Hot.", ["", "hot", ""]),
    ],
)
def test_a_text_is_streamed_as_it_comes_and_the_rest_at_its_end(
    served: ServedModels, access_log: Path, name: str, reply: str, deltas: list[str]
) -> None:
    app = middleware(served, Upstream(reply), access_log)
    body = chat_body(f"{name}-prompt", THING if name == "feel" else QA, stream=True)
    streamed = events(post(app, body).text)
    assert [event["choices"][0]["delta"]["content"] for event in streamed] == deltas


FULL = SORT_OUTPUTS | {"due": "2028-03-01", "note": "short"}
SORTED = [
    "\n".join(f"{name.capitalize()}: {as_text(value)}" for name, value in FULL.items()),
    "\n\n".join(f"[[ ## {name} ## ]]\n{as_text(value)}" for name, value in FULL.items()),
    json.dumps(FULL),
]
READERS = [
    RequestReader(Variant("any", "prompt", build_prompt(task, layout, "Do.", reasoning=reasoning), "fake", None, None))
    for task, reasoning in ((ANSWER, False), (ANSWER, True), (SORT, False))
    for layout in LAYOUTS
]


@given(
    reader=st.sampled_from(READERS),
    raw=st.booleans(),
    texts=st.lists(st.one_of(replies, st.sampled_from(SORTED)), min_size=1, max_size=2),
    places=cuts,
    every=st.integers(1, 300),
)
@settings(max_examples=300, deadline=None)
def test_a_stream_put_together_is_the_whole_answer(
    reader: RequestReader, raw: bool, texts: list[str], places: list[int], every: int
) -> None:
    """In every layout, for each choice, wherever the engine or the network cuts it."""
    sample = sample_inputs(reader.variant.prompt, "any")
    whole, streamed = (reader.read(chat_body("", sample, raw=raw, stream=stream)) for stream in (False, True))
    choices = [{"index": i, "message": {"content": text}} for i, text in enumerate(texts)]
    usage, stream_usage = Usage(), Usage()
    reply = json.loads(client_reply(whole, json.dumps({"choices": choices}).encode(), usage))
    stream = ClientStream(streamed, stream_usage)
    data = engine_stream([pieces(text, places) for text in texts])
    sent = b"".join(stream.feed(data[at : at + every]) for at in range(0, len(data), every)) + stream.close()
    got = events(sent.decode())
    assert contents(got) == {i: choice["message"]["content"] for i, choice in enumerate(reply["choices"])}
    ends = [(one["index"], one["finish_reason"]) for event in got for one in event["choices"] if one["finish_reason"]]
    assert sorted(ends) == [(i, "stop") for i in range(len(texts))]
    assert stream_usage.unparsed == usage.unparsed


def engine_stream(replies: list[list[str]]) -> bytes:
    """What the engine sends for these pieces of each choice, by turns; the end comes with the last of them."""
    chunks = [
        {"choices": [{"index": i, "delta": {"content": piece}, "finish_reason": "stop" if last else None}]}
        for number in range(max(map(len, replies)))
        for i, own in enumerate(replies)
        for piece, last in [(one, number == len(own) - 1) for one in own[number : number + 1]]
    ]
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def test_replies_that_do_not_parse_are_counted_in_every_form(served: ServedModels, access_log: Path) -> None:
    app = middleware(served, Upstream("mild"), access_log)
    for fields in ({}, {"raw": True}, {"stream": True}, {"stream": True, "raw": True, "n": 2}):
        assert post(app, chat_body("feel-prompt", THING, **fields)).status_code == 200
    assert 'promptstill_unparsed_replies_total{variant="feel-prompt"} 5.0' in get(app, "/metrics").text


def test_a_stream_that_is_cut_off_ends_with_what_was_sent(served: ServedModels, access_log: Path) -> None:
    """What is held back until the end is no answer then."""
    app = middleware(served, Upstream("hot", finish="abort"), access_log)
    streamed = events(post(app, chat_body("feel-prompt", THING, stream=True)).text)
    assert contents(streamed) == {0: ""} and streamed[-1]["choices"][0]["finish_reason"] == "abort"
    app = middleware(served, Upstream(" in 1891", finish="abort"), access_log)
    assert contents(events(post(app, chat_body("qa_raw-prompt", QA, stream=True)).text)) == {0: "in 1891"}
    assert [json.loads(line)["error"] for line in access_log.read_text().splitlines()] == ["engine", "engine"]


def test_the_openai_client_gets_the_same_of_a_prompt_and_its_student(access_log: Path, tmp_path: Path) -> None:
    best = artifacts.write_best(tmp_path / "best.json", "qa", artifacts.qa_prompt("json"))
    pair = load_variants([best], [artifacts.sketch_distilled(tmp_path / "distilled")])
    upstream = Upstream(answers=lambda body: " 1891" if "@" in body["model"] else JSON_ANSWER)
    transport = httpx.ASGITransport(middleware(pair, upstream, access_log))

    async def ask(name: str, **fields: Any) -> tuple[str | None, str]:
        async with openai.AsyncOpenAI(
            base_url="http://server/v1", api_key="none", http_client=httpx.AsyncClient(transport=transport)
        ) as client:
            messages: Any = chat_body("", QA)["messages"]
            create: Any = partial(client.chat.completions.create, model=name, messages=messages, extra_body=fields)
            whole, parts = await create(), await create(stream=True)
            text = "".join([part.choices[0].delta.content or "" async for part in parts])
            return whole.choices[0].message.content, text

    for name, own_text in (("qa-prompt", JSON_ANSWER), ("qa-distilled", " 1891")):
        assert asyncio.run(ask(name)) == ("1891", "1891")
        assert asyncio.run(ask(name, raw=True)) == (own_text, own_text)


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
