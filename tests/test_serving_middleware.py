"""The middleware as a whole: the list of models, what is too large or too much, clients that leave, hostile bodies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings

from serving.asgi import Message
from serving.variants import Served
from tests import bodies
from tests.bodies import asking
from tests.conversation import QA, get, message, middleware, talk
from tests.upstream import Upstream


def test_models_are_the_variants_and_the_base(served: Served, access: Path) -> None:
    listed = get(middleware(served, Upstream(), access), "/v1/models").json()["data"]
    assert [model["id"] for model in listed] == [*served.variants, "fake"]
    assert listed[0]["promptstill"]["score"] == {"mean": 0.44, "low": 0.37, "high": 0.5, "n": 120}
    assert listed[-1]["promptstill"] == {"kind": "base"} and listed[0]["max_model_len"] == 512
    assert "/somewhere" not in json.dumps(listed)


def test_large_bodies_are_refused(served: Served, access: Path) -> None:
    upstream = Upstream()
    app = middleware(served, upstream, access, max_body=2000)

    async def parts() -> Any:
        for _ in range(30):
            yield b'"' + b"x" * 100

    async def ask(client: httpx.AsyncClient) -> None:
        for content in (b"x" * 2001, parts()):
            refused = await client.post("/v1/chat/completions", content=content)
            assert refused.status_code == 413 and message(refused).endswith("larger than 2,000 bytes.")

    talk(app, ask)
    assert upstream.bodies == []


def test_more_at_once_than_allowed_are_sent_away(served: Served, access: Path) -> None:
    upstream = Upstream()
    app = middleware(served, upstream, access, max_concurrency=2)

    async def ask(client: httpx.AsyncClient) -> None:
        upstream.gate = asyncio.Event()
        body = asking("qa_raw-prompt", QA)
        running = [asyncio.create_task(client.post("/v1/chat/completions", json=body)) for _ in range(2)]
        while len(upstream.bodies) < 2:
            await asyncio.sleep(0.01)
        busy = await client.post("/v1/chat/completions", json=body)
        assert busy.status_code == 429 and busy.headers["retry-after"] == "1"
        upstream.gate.set()
        assert [(await task).status_code for task in running] == [200, 200]
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200

    talk(app, ask)


def test_a_websocket_is_closed(served: Served, access: Path) -> None:
    sent: list[Message] = []

    async def run() -> None:
        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        await middleware(served, Upstream(), access)({"type": "websocket", "path": "/v1/realtime"}, receive, send)

    asyncio.run(run())
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_is_told_to_the_engine(served: Served, access: Path, stream: bool) -> None:
    upstream = Upstream()
    app = middleware(served, upstream, access)

    async def run() -> None:
        upstream.gate = asyncio.Event()
        body = json.dumps(asking("qa_raw-prompt", QA, stream=stream)).encode()
        messages: list[Message] = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None:
            pass

        headers = [(b"content-type", b"application/json")]
        await app({"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}, receive, send)

    asyncio.run(run())
    assert upstream.left == 1 and app.running == 0
    assert json.loads(access.read_text())["error"] == "disconnected"


@pytest.fixture
def memory() -> Callable[[], int]:
    process = psutil.Process()
    return lambda: process.memory_info().rss


def test_5000_hostile_bodies(served: Served, access: Path, memory: Callable[[], int]) -> None:
    """No status of 500 or more, no exception, and memory that the same bodies, sent again, do not raise."""
    app = middleware(served, Upstream(keeps=False), access, max_body=100_000)
    statuses: list[int] = []
    seen: list[bytes] = []

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

        headers = [(b"content-type", b"application/json"), (b"content-length", b"12")]  # wrong, and it does not matter
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
        seen.append(body)

    with runner:
        hostile()
        before = memory()
        for body in seen:
            runner.run(send_in_parts(body))
        assert memory() - before < 5 * 2**20
    assert len(statuses) >= 5000 and {200, 400, 404} <= set(statuses)
