"""The middleware as a whole: the list of models, its limits, clients that leave, hostile bodies."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import Route

from serving.asgi import Message
from serving.banner import banner_text
from serving.middleware import Setup, Variants
from serving.request import INLINE_BYTES, RequestReader, VariantRequest
from serving.settings import MiddlewareSettings
from serving.variants import ServedModels, Variant
from tests.serving.conversation import KEY, QA, error_message, get, middleware, run_with_client
from tests.serving.upstream import Upstream
from tests.support import bodies
from tests.support.bodies import chat_body


def test_models_are_the_variants_and_the_base(served: ServedModels, access_log: Path) -> None:
    listed = get(middleware(served, Upstream(), access_log), "/v1/models").json()["data"]
    assert [model["id"] for model in listed] == [*served.variants, "fake"]
    assert listed[0]["promptstill"]["score"] == {"mean": 0.44, "low": 0.37, "high": 0.5, "n": 120}
    assert listed[-1]["promptstill"] == {"kind": "base"} and listed[0]["max_model_len"] == 512
    assert "/somewhere" not in json.dumps(listed)


def test_a_hidden_base_is_in_no_list(served: ServedModels, access_log: Path) -> None:
    reply = get(middleware(replace(served, with_base=False), Upstream(), access_log), "/v1/models")
    listed = reply.json()["data"]
    assert [model["id"] for model in listed] == list(served.variants) and "fake" not in reply.text
    assert banner_text(replace(served, with_base=False), listed, "http://h/v1", None).count("fake") == 0


def test_large_bodies_are_refused(served: ServedModels, access_log: Path) -> None:
    upstream = Upstream()
    app = middleware(served, upstream, access_log, max_body=2000)

    async def parts() -> Any:
        for _ in range(30):
            yield b'"' + b"x" * 100

    async def send(client: httpx.AsyncClient) -> None:
        for content in (b"x" * 2001, parts()):
            refused = await client.post("/v1/chat/completions", content=content)
            assert refused.status_code == 413 and error_message(refused).endswith("larger than 2,000 bytes.")

    run_with_client(app, send)
    assert upstream.bodies == []


def in_starlette(served: ServedModels, access_log: Path, **cors: Any) -> Starlette:
    """An application as vLLM builds one: CORS behind our middleware, which is added last. Nothing is warm yet."""
    app = Starlette(routes=[Route("/v1/models", lambda request: Response(status_code=204), methods=["PUT"])])
    app.add_middleware(CORSMiddleware, **cors)
    limits = MiddlewareSettings(
        artifacts=(), adapters=(), seeds=False, keyed=True, max_body=2000, access_log=str(access_log)
    )
    app.add_middleware(Variants, setup=Setup(served, limits, KEY))
    return app


REST = {"allow_methods": ["*"], "allow_headers": ["*"]}
NONE = REST | {"allow_origins": []}  # vLLM's default
ONE = REST | {"allow_origins": ["https://a.org"]}
ANY = REST | {"allow_origins": ["*"]}


@pytest.mark.parametrize(
    ("cors", "origin", "allowed"),
    [(ANY, "https://a.org", "*"), (ONE, "https://a.org", "https://a.org"), (ONE, "https://b.org", None),
     (NONE, "https://a.org", None)],
)  # fmt: skip
def test_a_page_can_read_what_it_is_refused(
    served: ServedModels, access_log: Path, cors: dict[str, Any], origin: str, allowed: str | None
) -> None:
    key = {"Authorization": f"Bearer {KEY}"}

    async def send(client: httpx.AsyncClient) -> None:
        answers = {
            401: await client.get("/v1/models", headers={"Origin": origin}),
            413: await client.post("/v1/chat/completions", content=b"x" * 2001, headers={"Origin": origin, **key}),
            404: await client.post("/v1/chat/completions", json={"model": "?"}, headers={"Origin": origin, **key}),
            503: await client.get("/health", headers={"Origin": origin}),
            204: await client.put("/v1/models", headers={"Origin": origin, **key}),
        }
        for status, answer in answers.items():
            assert answer.status_code == status, answer.text
            assert answer.headers.get("access-control-allow-origin") == allowed, status
        assert answers[401].headers["www-authenticate"] == "Bearer"
        plain = await client.get("/v1/models")
        assert plain.status_code == 401 and "access-control-allow-origin" not in plain.headers
        asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        for path in ("/v1/chat/completions", "/health"):
            preflight = await client.options(path, headers=asks)
            assert preflight.status_code == (200 if allowed else 400)
            assert preflight.headers.get("access-control-allow-origin") == allowed

    run_with_client(in_starlette(served, access_log, **cors), send)


def test_requests_over_the_limit_are_refused(served: ServedModels, access_log: Path) -> None:
    upstream = Upstream()
    app = middleware(served, upstream, access_log, max_concurrency=2)

    async def send(client: httpx.AsyncClient) -> None:
        upstream.release = asyncio.Event()
        body = chat_body("qa_raw-prompt", QA)
        running = [asyncio.create_task(client.post("/v1/chat/completions", json=body)) for _ in range(2)]
        while len(upstream.bodies) < 2:
            await asyncio.sleep(0.01)
        busy = await client.post("/v1/chat/completions", json=body)
        assert busy.status_code == 429 and busy.headers["retry-after"] == "1"
        upstream.release.set()
        assert [(await task).status_code for task in running] == [200, 200]
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200

    run_with_client(app, send)


class BlockedReader(RequestReader):
    """Reads a request once it may."""

    def __init__(self, variant: Variant) -> None:
        super().__init__(variant)
        self.at_work, self.may_go_on = threading.Event(), threading.Event()

    def read(self, request: dict[str, Any]) -> VariantRequest:
        self.at_work.set()
        assert self.may_go_on.wait(10), "the event loop waits for this thread"
        return super().read(request)


@pytest.mark.parametrize(("name", "length"), [("near_turns-prompt", 1), ("qa_raw-prompt", INLINE_BYTES)])
def test_a_request_that_takes_long_to_read_holds_up_no_other(
    served: ServedModels, access_log: Path, name: str, length: int
) -> None:
    app = middleware(served, Upstream(), access_log)
    reader = app.readers[name] = BlockedReader(served.variants[name])

    async def send(client: httpx.AsyncClient) -> None:
        body = chat_body(name, QA | {"context": "x" * length})
        slow = asyncio.create_task(client.post("/v1/chat/completions", json=body))
        while not reader.at_work.is_set():
            await asyncio.sleep(0.01)
        other = await client.post("/v1/chat/completions", json=chat_body("feel-prompt", {"thing": "ice"}))
        assert other.status_code == 200 and not slow.done()
        reader.may_go_on.set()
        assert (await slow).status_code == 200

    run_with_client(app, send)


def test_a_websocket_is_closed(served: ServedModels, access_log: Path) -> None:
    sent: list[Message] = []

    async def run() -> None:
        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        await middleware(served, Upstream(), access_log)({"type": "websocket", "path": "/v1/realtime"}, receive, send)

    asyncio.run(run())
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize("stream", [True, False])
def test_the_engine_learns_that_a_client_has_left(served: ServedModels, access_log: Path, stream: bool) -> None:
    upstream = Upstream()
    app = middleware(served, upstream, access_log)

    async def run() -> None:
        upstream.release = asyncio.Event()
        body = json.dumps(chat_body("qa_raw-prompt", QA, stream=stream)).encode()
        messages: list[Message] = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None:
            pass

        headers = [(b"content-type", b"application/json")]
        await app({"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}, receive, send)

    asyncio.run(run())
    assert upstream.disconnects == 1 and app.running_requests == 0
    assert json.loads(access_log.read_text())["error"] == "disconnected"


@pytest.fixture
def memory() -> Callable[[], int]:
    process = psutil.Process()
    return lambda: process.memory_info().rss


def test_5000_hostile_bodies(served: ServedModels, access_log: Path, memory: Callable[[], int]) -> None:
    """No status of 500 or more, no exception, and no more memory when the same bodies are sent again."""
    app = middleware(served, Upstream(record=False), access_log, max_body=100_000)
    statuses: list[int] = []
    tried: list[bytes] = []

    async def send_in_parts(body: bytes) -> int:
        at = len(body) // 3
        messages: list[Message] = [
            {"type": "http.request", "body": part, "more_body": more}
            for part, more in ((body[:at], True), (body[at:], False))
        ]
        sent: list[Message] = []

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json"), (b"content-length", b"12")]  # wrong on purpose
        await app({"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}, receive, send)
        return int(sent[0]["status"])

    runner = asyncio.Runner()

    @settings(
        max_examples=5000, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(bodies.bodies)
    def hostile(body: bytes) -> None:
        statuses.append(runner.run(send_in_parts(body)))
        assert statuses[-1] < 500
        tried.append(body)

    with runner:
        hostile()
        before = memory()
        for body in tried:
            runner.run(send_in_parts(body))
        assert memory() - before < 5 * 2**20
    assert len(statuses) >= 5000 and {200, 400, 404} <= set(statuses)
