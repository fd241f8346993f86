"""Connections of a real uvicorn server on loopback: those that would wait for ever are closed, and no others."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
import uvloop
from websockets.asyncio.client import connect as connect_websocket

from serving.asgi import App, Receive, Scope, Send, respond
from serving.connections import CONNECTIONS, WAITING_CONNECTIONS, ConnectionWatch, report_failure
from serving.variants import ServedModels
from tests.serving import fake_vllm
from tests.serving.conversation import QA, middleware
from tests.serving.upstream import Upstream
from tests.support.bodies import chat_body

TIMEOUT_S = 0.5  # of the headers, in most tests here
HALF = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Half: "
MODELS = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
Watch = Callable[[uvicorn.Server], ConnectionWatch]
Stack = tuple[Any, Callable[[], asyncio.AbstractEventLoop]]
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Loopback:
    """A uvicorn server in this process, its port, and the ends that connections to it have here."""

    server: uvicorn.Server
    port: int
    ends: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self, sent: bytes) -> Stream:
        """A new connection that has sent these bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.ends.append(writer)
        writer.write(sent)
        return reader, writer

    async def until_open(self, count: int) -> None:
        """Return once the server has this many connections."""
        async with asyncio.timeout(20):
            while len(self.server.server_state.connections) != count:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(app: App, http: Any, watch: Watch | None = None, **options: Any) -> AsyncIterator[Loopback]:
    """Serve `app` as vLLM does. With `watch` the middleware gets no server, so that only this one watches."""
    state = SimpleNamespace(state=SimpleNamespace())

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope if watch else {**scope, "app": state}, receive, send)

    config = uvicorn.Config(application, port=0, http=http, ws="websockets-sansio", log_config=None, **options)
    server = state.state.server = fake_vllm.Server(config)
    watching = asyncio.create_task(watch(server).run()) if watch else None
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    loopback = Loopback(server, server.servers[0].sockets[0].getsockname()[1])
    try:
        yield loopback
    finally:
        for end in loopback.ends:
            end.close()
        server.should_exit = True
        await serving
        assert watching is None or not watching.done(), "it watches to the end"
        if watching:
            watching.cancel()


@pytest.fixture(
    params=[("h11", asyncio.new_event_loop), ("httptools", uvloop.new_event_loop)], ids=["h11", "httptools"]
)
def stack(request: pytest.FixtureRequest) -> Stack:
    """A protocol of uvicorn's, and an event loop; vLLM runs the second pair."""
    found: Stack = request.param
    return found


def run(stack: Stack, test: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=stack[1]) as runner:
        runner.run(test)


def with_timeout(server: uvicorn.Server) -> ConnectionWatch:
    return ConnectionWatch(server, header_timeout_s=TIMEOUT_S)


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Whether the server closes the connection, without another byte; waits for it."""
    with contextlib.suppress(ConnectionResetError):
        return await asyncio.wait_for(reader.read(), 20) == b""
    return True


async def read_reply(reader: asyncio.StreamReader) -> int:
    """The status of one whole reply."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
    return int(head.split()[1])


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send a header that never ends."""
    while not writer.is_closing():
        writer.write(b"x")
        await asyncio.sleep(TIMEOUT_S / 10)


def test_half_sent_headers_leave_room_and_are_closed(served: ServedModels, access_log: Path, stack: Stack) -> None:
    async def test() -> None:
        async with running(middleware(served, Upstream(), access_log), stack[0], with_timeout) as loopback:
            halves = [await loopback.connect(HALF if number else b"") for number in range(50)]
            drips = [asyncio.create_task(drip(writer)) for _, writer in halves[40:]]
            await loopback.until_open(50)
            reader, _ = await loopback.connect(MODELS)
            assert await read_reply(reader) == 200
            assert all([await is_closed(reader) for reader, _ in halves])
            await asyncio.gather(*drips, return_exceptions=True)

    run(stack, test())


def test_what_is_slow_but_sent_is_answered(served: ServedModels, access_log: Path, stack: Stack) -> None:
    """A body in pieces, and a streamed reply: each takes three times as long as headers may."""
    upstream = Upstream(delay_s=TIMEOUT_S / 2)
    body = json.dumps(chat_body("qa_raw-prompt", QA)).encode()
    head = b"Content-Type: application/json\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n"

    async def send_slowly(loopback: Loopback) -> int:
        reader, writer = await loopback.connect(HALF + b"1\r\n" + head)
        for at in range(0, len(body), len(body) // 6 + 1):
            await asyncio.sleep(TIMEOUT_S / 2)
            writer.write(body[at : at + len(body) // 6 + 1])
        return await read_reply(reader)

    async def read_stream(loopback: Loopback) -> list[str]:
        url, streamed = f"http://127.0.0.1:{loopback.port}/v1/chat/completions", chat_body("qa_raw-prompt", QA)
        async with (
            httpx.AsyncClient(trust_env=False, timeout=20) as client,
            client.stream("POST", url, json=streamed | {"stream": True}) as reply,
        ):
            return [line async for line in reply.aiter_lines() if line]

    async def test() -> None:
        async with running(middleware(served, upstream, access_log), stack[0], with_timeout) as loopback:
            status, lines = await asyncio.gather(send_slowly(loopback), read_stream(loopback))
        assert status == 200 and lines[-1] == "data: [DONE]" and len(lines) == 5

    run(stack, test())


def test_an_idle_connection_is_left_to_uvicorn(served: ServedModels, access_log: Path, stack: Stack) -> None:
    """After a reply it stays open for uvicorn's keep-alive timeout; half a second request has the headers' time."""

    async def test() -> None:
        app = middleware(served, Upstream(), access_log)
        async with running(app, stack[0], with_timeout, timeout_keep_alive=600) as loopback:
            reader, writer = await loopback.connect(MODELS)
            assert await read_reply(reader) == 200
            await asyncio.sleep(4 * TIMEOUT_S)
            writer.write(MODELS)
            assert await read_reply(reader) == 200
            writer.write(HALF)
            assert await is_closed(reader)

    run(stack, test())


def test_a_client_that_reads_nothing_does_not_keep_a_closed_connection(stack: Stack) -> None:
    async def send_much(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await respond(send, 200, b"x" * 2**25, [(b"connection", b"close")])

    async def test() -> None:
        async with running(send_much, stack[0], with_timeout) as loopback:
            _, writer = await loopback.connect(b"")
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it
            writer.write(MODELS)
            await loopback.until_open(1)
            await loopback.until_open(0)

    run(stack, test())


def test_a_websocket_is_not_watched(stack: Stack) -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        while scope["type"] == "websocket" and (message := await receive())["type"] != "websocket.disconnect":
            kind = "accept" if message["type"] == "websocket.connect" else "send"
            await send({"type": f"websocket.{kind}", **({"text": message["text"]} if kind == "send" else {})})

    async def test() -> None:
        async with (
            running(echo, stack[0], with_timeout) as loopback,
            connect_websocket(f"ws://127.0.0.1:{loopback.port}/", proxy=None) as websocket,
        ):
            await asyncio.sleep(4 * TIMEOUT_S)
            await websocket.send("still here")
            assert await websocket.recv() == "still here"

    run(stack, test())


def test_each_request_of_a_connection_has_the_whole_time(served: ServedModels, access_log: Path, stack: Stack) -> None:
    """Its headers are under way whenever the watch looks."""

    async def test() -> None:
        async with running(middleware(served, Upstream(), access_log), stack[0], with_timeout) as loopback:
            reader, writer = await loopback.connect(b"")
            for _ in range(10):
                writer.write(MODELS[:20])
                await asyncio.sleep(TIMEOUT_S / 2)
                writer.write(MODELS[20:])
                assert await read_reply(reader) == 200

    run(stack, test())


def test_of_too_many_that_wait_the_oldest_are_closed(served: ServedModels, access_log: Path, stack: Stack) -> None:
    async def test() -> None:
        app, watch = middleware(served, Upstream(), access_log), partial(ConnectionWatch, header_timeout_s=600)
        async with running(app, stack[0], partial(watch, most_waiting=5)) as loopback:
            first = [await loopback.connect(HALF) for _ in range(3)]
            await asyncio.sleep(1.5)  # the watch has seen these, and not the others
            others = [await loopback.connect(HALF) for _ in range(5)]
            assert all([await is_closed(reader) for reader, _ in first])
            await loopback.until_open(5)
            assert not any(reader.at_eof() for reader, _ in others)

    run(stack, test())


def test_the_middleware_watches_its_connections(served: ServedModels, access_log: Path, stack: Stack) -> None:
    async def test() -> None:
        app = middleware(served, Upstream(), access_log, max_concurrency=7)
        async with running(app, stack[0]) as loopback:
            assert loopback.server.config.limit_concurrency == CONNECTIONS + 7
            for _ in range(WAITING_CONNECTIONS + 3):
                await loopback.connect(HALF)
            await loopback.until_open(WAITING_CONNECTIONS)

    run(stack, test())


def test_more_connections_than_allowed_are_refused(served: ServedModels, access_log: Path, stack: Stack) -> None:
    async def test() -> None:
        app = middleware(served, Upstream(), access_log)
        async with running(app, stack[0], lambda server: ConnectionWatch(server, most=3)) as loopback:
            readers = [(await loopback.connect(HALF))[0] for _ in range(2)]
            await loopback.until_open(2)
            readers += [(await loopback.connect(MODELS))[0]]
            assert await read_reply(readers[2]) == 503

    run(stack, test())


def test_a_limit_that_uvicorn_has_already_is_kept() -> None:
    server = uvicorn.Server(uvicorn.Config("app", limit_concurrency=5))
    assert ConnectionWatch(server, most=9).server.config.limit_concurrency == 5


def test_the_end_of_a_watch_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    async def test() -> None:
        task = asyncio.create_task(ConnectionWatch(SimpleNamespace(config=SimpleNamespace(limit_concurrency=1))).run())
        task.add_done_callback(report_failure)
        await asyncio.wait([task])

    asyncio.run(test())
    assert capsys.readouterr().err.startswith("connections are no longer watched: AttributeError: ")
