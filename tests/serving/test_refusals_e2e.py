"""`serve` on the real engine: what every client is refused, and hostile requests that must break nothing."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, assume, given, seed, settings

from tests.support import bodies
from tests.support.bodies import chat_body
from tests.support.server import KEY, PAGE, QA, Server

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("key", [None, "wrong"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/tokenize", "/invocations"])
@pytest.mark.parametrize("name", ["qa_raw-prompt", "smollm2-135m"])
def test_every_route_needs_the_key(server: Server, key: str | None, path: str, name: str) -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else {"Authorization": ""}
    body = chat_body(name, QA) | {"prompt": "Hello"}
    refused = server.post(body, path, Origin=PAGE, **headers)
    assert refused.status_code == 401 and refused.headers["access-control-allow-origin"] == PAGE
    assert server.get("/health", None).status_code == 200 and server.get("/v1/models", None).status_code == 401


def test_the_key_is_in_no_log(server: Server) -> None:
    logs = [path for path in (server.folder / "runs").rglob("*") if path.is_file()] + [server.folder / "stderr.log"]
    assert len(logs) == 3 and not [path for path in logs if KEY in path.read_text()]
    assert KEY not in server.printed


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/completions", {"prompt": "Hello"}),
        ("/v1/responses", {"input": "Hello"}),
        ("/v1/messages", {"max_tokens": 5}),
        ("/tokenize", {}),
        ("/invocations", {}),
        ("/inference/v1/generate", {"token_ids": [1]}),
        ("/v1/chat/completions/batch", {}),
        ("/v1/chat/completions/render", {}),
        ("/v1/chat/completions/", {}),
    ],
)
def test_a_variant_answers_on_no_other_route(server: Server, path: str, fields: dict[str, Any]) -> None:
    refused = server.post(chat_body("qa-distilled", QA) | fields, path)
    assert refused.status_code == 400 and "/v1/chat/completions only" in refused.json()["error"]["message"]


def test_the_engines_name_of_the_adapter_is_not_a_model(server: Server) -> None:
    engine_name = server.ask("qa-distilled", QA).json()["system_fingerprint"]
    refused = server.post(chat_body(engine_name, QA))
    assert refused.status_code == 404 and "qa-distilled, smollm2-135m" in refused.json()["error"]["message"]


@pytest.mark.parametrize("name", ["qa_raw-prompt", "smollm2-135m"])
@pytest.mark.parametrize(
    "fields", [{"chat_template": "x"}, {"chat_template_kwargs": {"chat_template": "x"}}, {"seed": 1}]
)
def test_template_and_seed_are_refused(server: Server, name: str, fields: dict[str, Any]) -> None:
    assert server.ask(name, QA, **fields).status_code == 400
    assert server.get("/health").status_code == 200


def is_for_base(body: bytes) -> bool:
    """Whether a body is for the base model, where vLLM chooses the status."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("model") in (None, "", "smollm2-135m")


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_hostile_bodies_never_cause_a_500(server: Server, count: int) -> None:
    statuses: list[int] = []
    with httpx.Client(timeout=60, trust_env=False) as client:

        @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @seed(count)
        @given(bodies.bodies)
        def hostile(body: bytes) -> None:
            assume(not is_for_base(body))
            headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
            reply = client.post(f"{server.url}/v1/chat/completions", content=body, headers=headers)
            statuses.append(reply.status_code)
            assert reply.status_code < 500, (body[:2000], reply.text)

        hostile()
    assert len(statuses) >= count and {200, 400} <= set(statuses) and server.get("/health").status_code == 200


@pytest.mark.parametrize("length", ["5", "100000", "-1", "x"])
def test_a_wrong_content_length_breaks_nothing(server: Server, length: str) -> None:
    body = json.dumps(chat_body("feel-prompt", {"thing": "ice"}))
    key = f"Authorization: Bearer {KEY}"
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{key}\r\nContent-Length: {length}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as raw:
        raw.sendall((head + body).encode())
        raw.shutdown(socket.SHUT_WR)
        raw.settimeout(10)
        assert b" 500 " not in raw.recv(200)
    assert server.ask("feel-prompt", {"thing": "ice"}).status_code == 200
