"""The middleware as a whole: the list of models, its limits, clients that leave, hostile bodies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, seed, settings
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import Route

from promptstill.strict_json import parse_json
from serving.asgi import BufferedResponse, Message, Receive, Scope, Send, read_body, replay_body
from serving.banner import banner_text
from serving.middleware import Setup, Variants
from serving.request import INLINE_BYTES, RequestReader, VariantRequest
from serving.settings import CHOICES_LIMIT, MiddlewareSettings
from serving.variants import ServedModels, Variant
from tests.serving.conversation import KEY, QA, error_message, get, middleware, run_with_client
from tests.serving.upstream import Upstream
from tests.support import artifacts, bodies
from tests.support.bodies import chat_body
from tests.support.loopback import loopback_only

FORM = artifacts.form_prompt().instruction


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


def check_costs(body: dict[str, Any]) -> None:
    """What reaches the engine asks for few replies, and no client's text in it is a marker of the tokenizer."""
    assert all(count is None or count <= CHOICES_LIMIT for count in (body.get("n"), body.get("best_of")))
    text = json.dumps(body.get("messages"))
    assert FORM not in text or not any(marker in text for marker in bodies.MARKERS)


class Hostile:
    """Sends hostile bodies to the middleware, and keeps them, their statuses, and the variants that answered."""

    def __init__(self, served: ServedModels, access_log: Path) -> None:
        self.upstream = Upstream(record=False)
        self.app = middleware(served, self.check_and_answer, access_log, max_body=100_000)
        self.tried: list[bytes] = []
        self.statuses: Counter[int] = Counter()
        self.answered: set[bytes] = set()

    async def check_and_answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = await read_body(scope, receive, 2**30)
        check_costs(parse_json(raw) if raw else {})
        await self.upstream(scope, replay_body(raw, receive), send)

    async def send(self, body: bytes) -> None:
        """In two parts, with a length that is wrong on purpose."""
        at, sent = len(body) // 3, BufferedResponse()
        messages: list[Message] = [
            {"type": "http.request", "body": part, "more_body": more}
            for part, more in ((body[:at], True), (body[at:], False))
        ]

        async def receive() -> Message:
            return messages.pop(0)

        headers = [(b"content-type", b"application/json"), (b"content-length", b"12")]
        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}
        await self.app(scope, receive, sent.send)
        self.statuses[sent.status] += 1
        assert sent.status < 500
        if sent.status == 200:
            self.answered |= {value for name, value in sent.headers if name == b"x-promptstill-variant"}

    def run(self, count: int, number: int, again: int) -> int:
        """Send `count` bodies, and the last `again` of them once more; returns the bytes of memory that this took."""
        self.tried.clear()
        with asyncio.Runner() as runner, loopback_only():

            @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @seed(number)
            @given(bodies.bodies)
            def hostile(body: bytes) -> None:
                runner.run(self.send(body))
                self.tried.append(body)

            hostile()
            process = psutil.Process()
            before = process.memory_info().rss
            for body in self.tried[-again:]:
                runner.run(self.send(body))
            return int(process.memory_info().rss - before)

    def check(self, count: int) -> None:
        """Each kind of body was among them."""
        assert self.statuses.total() >= count and {200, 400, 404} <= set(self.statuses)
        assert self.answered == {name.encode() for name in bodies.INPUTS}


def test_5000_hostile_bodies(served: ServedModels, access_log: Path) -> None:
    """No status of 500 or more, no exception, and no more memory when the same bodies are sent again."""
    hostile = Hostile(served, access_log)
    assert hostile.run(5000, 0, again=5000) < 5 * 2**20
    hostile.check(5000)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_50000_hostile_bodies(served: ServedModels, access_log: Path) -> None:
    hostile = Hostile(served, access_log)
    assert sum(hostile.run(5000, number, again=1000) for number in range(1, 11)) < 5 * 2**20
    hostile.check(50_000)


def test_a_connection_to_another_machine_is_noticed() -> None:
    with pytest.raises(AssertionError, match=r"192\.0\.2\.1"), loopback_only(), contextlib.suppress(OSError):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
