"""What is refused on every route, and what passes to the base model unchanged: names, templates, seeds, keys."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.variants import ServedModels
from tests.serving.conversation import KEY, QA, error_message, get, middleware, post, run_with_client
from tests.serving.upstream import Upstream
from tests.support.bodies import chat_body


@pytest.mark.parametrize(
    "path",
    ["/v1/completions", "/v1/responses", "/v1/messages", "/tokenize", "/invocations", "/v1/chat/completions/", "/x"],
)
def test_a_variant_answers_on_no_other_route(served: ServedModels, access_log: Path, path: str) -> None:
    upstream = Upstream()
    refused = post(middleware(served, upstream, access_log), chat_body("qa_raw-prompt", QA), path)
    assert refused.status_code == 400 and "/v1/chat/completions only" in error_message(refused)
    assert upstream.bodies == []


@pytest.mark.parametrize("name", ["nobody", "qa_raw-prompt@0123456789ab", 5, 0, [], ["fake"], {"a": 1}])
def test_any_other_name_is_not_found(served: ServedModels, access_log: Path, name: Any) -> None:
    refused = post(middleware(served, Upstream(), access_log), chat_body(name, QA), "/v1/completions")
    assert refused.status_code == 404 and "pick-prompt, calibrated-prompt, fake" in error_message(refused)


@pytest.mark.parametrize("body", [{"model": "fake"}, {"prompt": "x"}, {"model": None}, {"model": ""}])
def test_a_request_for_the_base_passes_unchanged(served: ServedModels, access_log: Path, body: dict[str, Any]) -> None:
    upstream = Upstream(error=(404, {"error": {"message": "vLLM's own"}}))
    app = middleware(served, upstream, access_log)
    raw = b" " + json.dumps(body | {"temperature": 0.5, "messages": []}).encode() + b"\n"
    responses: list[httpx.Response] = []

    async def send(client: httpx.AsyncClient) -> None:
        responses.append(await client.post("/v1/completions", content=raw, headers={"X-Other": "kept"}))

    run_with_client(app, send)
    assert upstream.raw_bodies == [raw] and upstream.headers["x-other"] == "kept"
    assert responses[0].status_code == 404 and error_message(responses[0]) == "vLLM's own"


@pytest.mark.parametrize(
    "fields",
    [
        {"chat_template": "x"},
        {"chat_template_kwargs": {"chat_template": "x"}},
        {"seed": 0},
        {"sampling_params": {"seed": 5}},
    ],
)
def test_the_base_takes_no_template_and_no_seed(served: ServedModels, access_log: Path, fields: dict[str, Any]) -> None:
    upstream = Upstream()
    assert post(middleware(served, upstream, access_log), {"model": "fake"} | fields, "/any").status_code == 400
    assert upstream.bodies == []


@pytest.mark.parametrize("field", ["n", "best_of"])
@pytest.mark.parametrize("count", [4, 128, 10**400, "4", 4.0, True, [4]])
def test_the_base_answers_only_so_many_times(served: ServedModels, access_log: Path, field: str, count: Any) -> None:
    upstream = Upstream()
    app = middleware(served, upstream, access_log, max_n=3)
    for fields in ({field: count}, {"sampling_params": {field: count}}):
        refused = post(app, {"model": "fake"} | fields, "/any")
        assert refused.status_code == 400
        assert error_message(refused) == f"{field} must be a whole number of at most 3, the limit of this server."
    assert upstream.bodies == []
    assert post(app, {"model": "fake", field: 3, "sampling_params": {field: None}}, "/any").status_code == 200


@pytest.mark.parametrize("body", [{}, {"model": None}, {"model": ""}, {"model": "fake"}, {"model": "qa-distilled@x"}])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/tokenize", "/invocations"])
def test_a_hidden_base_is_an_unknown_model(
    served: ServedModels, access_log: Path, path: str, body: dict[str, Any]
) -> None:
    upstream = Upstream()
    app = middleware(replace(served, with_base=False), upstream, access_log)
    refused = post(app, body | {"prompt": "Hello", "messages": []}, path)
    assert refused.status_code == 404 and refused.json()["error"]["param"] == "model"
    assert error_message(refused).endswith("pick-prompt, calibrated-prompt.")
    assert post(app, chat_body("qa_raw-prompt", QA)).status_code == 200
    assert [sent["model"] for sent in upstream.bodies] == ["fake"], "the variant's own request alone"


def test_a_request_without_a_body_does_not_reach_a_hidden_base(served: ServedModels, access_log: Path) -> None:
    upstream = Upstream()
    refused = post(middleware(replace(served, with_base=False), upstream, access_log), None, "/v1/completions")
    assert refused.status_code == 400 and "names a model" in error_message(refused)
    assert upstream.bodies == []
    assert post(middleware(served, upstream, access_log), None, "/v1/completions").status_code == 200


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", "Basic sesame", KEY, f"Bearer {KEY} "])
@pytest.mark.parametrize("name", ["qa_raw-prompt", "fake"])
def test_every_route_needs_the_key(
    served: ServedModels, access_log: Path, authorization: str | None, name: str
) -> None:
    upstream = Upstream()
    app = middleware(served, upstream, access_log, KEY)
    headers = {"Authorization": authorization} if authorization else {}
    for path in ("/v1/chat/completions", "/tokenize", "/invocations"):
        assert post(app, chat_body(name, QA), path, **headers).status_code == 401
    assert get(app, "/v1/models", **headers).status_code == 401
    assert upstream.bodies == [] and upstream.scopes == []


def test_the_key_opens_every_route(served: ServedModels, access_log: Path) -> None:
    app = middleware(served, Upstream(), access_log, KEY)
    assert post(app, chat_body("qa_raw-prompt", QA), Authorization=f"bearer {KEY}").status_code == 200
    assert post(app, {"model": "fake"}, Authorization=f"Bearer {KEY}").status_code == 200
    assert get(app, "/metrics").status_code == 200
