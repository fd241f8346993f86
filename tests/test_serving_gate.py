"""What is refused on every route, and what passes to the base untouched: names, templates, seeds, keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.variants import Served
from tests.bodies import asking
from tests.conversation import KEY, QA, get, message, middleware, post, talk
from tests.upstream import Upstream


@pytest.mark.parametrize(
    "path",
    ["/v1/completions", "/v1/responses", "/v1/messages", "/tokenize", "/invocations", "/v1/chat/completions/", "/x"],
)
def test_a_variant_answers_on_no_other_route(served: Served, access: Path, path: str) -> None:
    upstream = Upstream()
    refused = post(middleware(served, upstream, access), asking("qa_raw-prompt", QA), path)
    assert refused.status_code == 400 and "/v1/chat/completions only" in message(refused)
    assert upstream.bodies == []


@pytest.mark.parametrize("name", ["nobody", "qa_raw-prompt@0123456789ab", 5, 0, [], ["fake"], {"a": 1}])
def test_other_names_are_no_models(served: Served, access: Path, name: Any) -> None:
    refused = post(middleware(served, Upstream(), access), asking(name, QA), "/v1/completions")
    assert refused.status_code == 404 and "feel-prompt, pick-prompt, fake" in message(refused)


@pytest.mark.parametrize("body", [{"model": "fake"}, {"prompt": "x"}, {"model": None}, {"model": ""}])
def test_the_base_passes_untouched(served: Served, access: Path, body: dict[str, Any]) -> None:
    upstream = Upstream(error=(404, {"error": {"message": "vLLM's own"}}))
    app = middleware(served, upstream, access)
    raw = b" " + json.dumps(body | {"temperature": 0.5, "messages": []}).encode() + b"\n"
    answers: list[httpx.Response] = []

    async def ask(client: httpx.AsyncClient) -> None:
        answers.append(await client.post("/v1/completions", content=raw, headers={"X-Other": "kept"}))

    talk(app, ask)
    assert upstream.raw == [raw] and upstream.headers["x-other"] == "kept"
    assert answers[0].status_code == 404 and message(answers[0]) == "vLLM's own"


@pytest.mark.parametrize(
    "fields",
    [
        {"chat_template": "x"},
        {"chat_template_kwargs": {"chat_template": "x"}},
        {"seed": 0},
        {"sampling_params": {"seed": 5}},
    ],
)
def test_the_base_takes_no_template_and_no_seed(served: Served, access: Path, fields: dict[str, Any]) -> None:
    upstream = Upstream()
    assert post(middleware(served, upstream, access), {"model": "fake"} | fields, "/any").status_code == 400
    assert upstream.bodies == []


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", "Basic sesame", KEY, f"Bearer {KEY} "])
@pytest.mark.parametrize("name", ["qa_raw-prompt", "fake"])
def test_the_key_is_asked_for_everywhere(served: Served, access: Path, authorization: str | None, name: str) -> None:
    upstream = Upstream()
    app = middleware(served, upstream, access, KEY)
    headers = {"Authorization": authorization} if authorization else {}
    for path in ("/v1/chat/completions", "/tokenize", "/invocations"):
        assert post(app, asking(name, QA), path, **headers).status_code == 401
    assert get(app, "/v1/models", **headers).status_code == 401
    assert upstream.bodies == [] and upstream.scopes == []


def test_with_the_key_all_is_open(served: Served, access: Path) -> None:
    app = middleware(served, Upstream(), access, KEY)
    assert post(app, asking("qa_raw-prompt", QA), Authorization=f"bearer {KEY}").status_code == 200
    assert post(app, {"model": "fake"}, Authorization=f"Bearer {KEY}").status_code == 200
    assert get(app, "/metrics").status_code == 200
