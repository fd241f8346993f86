"""An ASGI application that answers like vLLM, in this process. It records its requests, and can stream and fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from serving.asgi import Disconnected, Receive, Scope, Send, header, read_body, respond

DEAD = {"error": {"message": "EngineCore encountered an issue. See stack trace (above).", "code": 500}}
USAGE = {"prompt_tokens": 100, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 64}}
REPORTED_CONTEXT = 512
PIECE = 3  # characters of a reply in one chunk of a stream


@dataclass
class Upstream:
    """What it answers, and what it got.

    `answer` is the text of every reply where no `answers` makes one from the request's body; `error` is a status and a
    body in its place. With `release`, replies wait until that event is set; `delay_s` is how long each part takes.
    `context` is what /v1/models reports. `record` False keeps no requests. `disconnects` counts the clients that left.
    """

    answer: str = " 1891"
    answers: Callable[[dict[str, Any]], str] | None = None
    finish: str = "stop"
    error: tuple[int, dict[str, Any]] | None = None
    release: asyncio.Event | None = None
    delay_s: float = 0.0
    context: int = REPORTED_CONTEXT
    record: bool = True
    bodies: list[dict[str, Any]] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)
    raw_bodies: list[bytes] = field(default_factory=list)
    disconnects: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
            return
        if self.record:
            self.scopes.append(scope)
        if scope["path"] == "/health":
            await respond(send, 200, b"", [])
        elif scope["path"] == "/metrics":
            await respond(send, 200, b"vllm:num_requests_running 0.0\n", [])
        elif scope["path"] == "/v1/models":
            base = {"id": "fake", "object": "model", "root": "/somewhere/fake", "max_model_len": self.context}
            await respond(
                send, 200, json.dumps({"object": "list", "data": [base, {"id": "qa-distilled@x"}]}).encode(), []
            )
        else:
            await self._complete(scope, receive, send)

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            kind = (await receive())["type"].removeprefix("lifespan.")
            await send({"type": f"lifespan.{kind}.complete"})
            if kind == "shutdown":
                return

    async def _complete(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = await read_body(scope, receive, 2**30)
        body = json.loads(raw) if raw else {}
        if self.record:
            self.raw_bodies.append(raw)
            self.bodies.append(body)
        if not (isinstance(body.get("model") or "", str) and type(body.get("n", 1)) is int and body.get("n", 1) < 200):
            await respond(send, 400, b'{"error": {"message": "vLLM refuses this"}}', [])
        elif self.error:
            await respond(send, self.error[0], json.dumps(self.error[1]).encode(), [])
        elif body.get("stream"):
            await self._stream(body, receive, send)
        else:
            await self._wait(receive)
            message = {"role": "assistant", "content": self._reply(body)}
            choices = [
                {"index": i, "message": dict(message), "finish_reason": self.finish} for i in range(body.get("n", 1))
            ]
            reply = {
                "id": "x",
                "model": body.get("model"),
                "choices": choices,
                "usage": USAGE,
                "system_fingerprint": "vllm",
            }
            await respond(send, 200, json.dumps(reply).encode(), [])

    async def _stream(self, body: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        text, count = self._reply(body), range(body.get("n", 1))
        pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)] or [""]
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": one} for one in pieces)]
        chunks: list[dict[str, Any]] = [
            {"id": "x", "model": body.get("model"), "choices": [{"index": i, "delta": delta, "finish_reason": None}]}
            for delta in deltas
            for i in count
        ]
        for chunk in chunks[-len(count) :]:  # as vLLM does, with the last piece
            chunk["choices"][0]["finish_reason"] = self.finish
        if body.get("stream_options") == {"include_usage": True}:
            chunks.append(
                {"id": "x", "model": body.get("model"), "choices": [], "usage": USAGE, "system_fingerprint": "vllm"}
            )
        events = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
        for at in range(0, len(events), 50):  # in pieces that do not end where events end, as from a proxy
            await send({"type": "http.response.body", "body": events[at : at + 50], "more_body": True})
            await self._wait(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _reply(self, body: dict[str, Any]) -> str:
        return self.answers(body) if self.answers else self.answer

    async def _wait(self, receive: Receive) -> None:
        """Wait, as vLLM does, until the engine has answered or the client has left."""
        await asyncio.sleep(self.delay_s)
        if self.release is None:
            return
        disconnect: asyncio.Future[Any] = asyncio.ensure_future(receive())
        answer: asyncio.Future[Any] = asyncio.ensure_future(self.release.wait())
        done, pending = await asyncio.wait([disconnect, answer], return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if disconnect in done:
            self.disconnects += 1
            raise Disconnected

    @property
    def headers(self) -> dict[str, str]:
        """The last request's headers."""
        return {name.decode(): header(self.scopes[-1], name) or "" for name, _ in self.scopes[-1]["headers"]}
