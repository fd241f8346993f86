"""One HTTP exchange: its request, its response, and what the metrics and the access log record of them."""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from serving.admission import request_path
from serving.asgi import App, Headers, Message, Receive, Refusal, Scope, Send, drop_headers, header, respond
from serving.response import DEAD_ENGINE_TEXT, Usage, dead_engine_refusal
from serving.variants import Variant

REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@dataclass
class HttpExchange:
    """Wraps the `receive` and `send` of one exchange. `error_kind` is None unless it ended in an error."""

    scope: Scope
    wire_receive: Receive
    wire_send: Send
    variant: Variant | None = None
    model: str | None = None
    error_kind: str | None = None
    status: int = 0
    stream: bool = False
    usage: Usage = field(default_factory=Usage)
    complete: bool = False

    def __post_init__(self) -> None:
        self.started, self.started_at = time.perf_counter(), datetime.now(UTC)
        client_id = header(self.scope, b"x-request-id") or ""
        self.id = client_id if REQUEST_ID.fullmatch(client_id) else uuid.uuid4().hex
        self.seconds = 0.0

    async def receive(self) -> Message:
        """The client's next message. Records it when the client leaves before the response is complete."""
        message = await self.wire_receive()
        if message["type"] == "http.disconnect" and not self.complete:
            self.error_kind = "disconnected"
        return message

    async def send(self, message: Message) -> None:
        """Send to the client, with headers that name the exchange and the artifact."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*drop_headers(message.get("headers", []), b"x-request-id"), *self._headers]
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self.complete = True
        await self.wire_send(message)

    @property
    def _headers(self) -> Headers:
        own = {"x-request-id": self.id}
        if self.variant:
            own |= {"x-promptstill-variant": self.variant.name, "x-promptstill-artifact": self.variant.artifact}
        return [(name.encode(), value.encode()) for name, value in own.items()]

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with an error."""
        self.error_kind = refusal.kind
        await self.answer(refusal.status, refusal.body, refusal.headers)

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """Answer with JSON of our own, which vLLM never sees, as if it came through vLLM's CORS layer."""

        async def send_answer(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, status, body, headers)

        await behind_cors(send_answer, self.scope)(self.scope, self.receive, self.send)

    def finish(self) -> None:
        """Take the time and settle the error kind. Called once, when nothing more will be sent."""
        self.seconds = time.perf_counter() - self.started
        if self.error_kind is None and (self.status >= 400 or not self.complete):
            self.error_kind = "refused" if 400 <= self.status < 500 else "engine"

    def log_record(self) -> dict[str, Any]:
        """The access log's line. It holds neither inputs nor replies."""
        client = self.scope.get("client")
        record = {
            "time": self.started_at.isoformat(timespec="milliseconds"),
            "request_id": self.id,
            "client": client[0] if client else None,
            "method": self.scope["method"],
            "path": request_path(self.scope)[:200],
            "model": self.model,
            "artifact": self.variant.artifact[:12] if self.variant else None,
            "status": self.status,
            "ms": round(self.seconds * 1000, 2),
            "stream": self.stream or None,
            "error": self.error_kind,
        }
        if self.variant:
            record |= vars(self.usage)
        return {key: value for key, value in record.items() if value is not None}


def behind_cors(app: App, scope: Scope) -> App:
    """`app` behind a CORS layer as the one of the application in `scope`, which runs after this middleware.

    Without its headers a browser hides an answer from the page that asked. `app` itself where there is no such layer.
    """
    for layer in getattr(scope.get("app"), "user_middleware", ()):
        if getattr(layer.cls, "__name__", "") == "CORSMiddleware":  # by name: serving need not have Starlette
            layered: App = layer.cls(app, *layer.args, **layer.kwargs)
            return layered
    return app


async def call_engine(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Call vLLM's application. Raises `Refusal` (503) where vLLM answers that its engine has died."""
    guarded = DeadEngineFilter(send)
    await app(scope, receive, guarded.send)
    if guarded.engine_died:
        raise dead_engine_refusal()


class DeadEngineFilter:
    """A `send` that drops vLLM's 500 for a dead engine. Everything else passes through as it comes."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: list[Message] = []
        self.engine_died = False

    async def send(self, message: Message) -> None:
        """Hold back a 500 until it is whole; pass on anything else."""
        if message["type"] == "http.response.start" and message["status"] == 500:
            self._held.append(message)
        elif not self._held:
            await self._send(message)
        else:
            self._held.append(message)
            if not message.get("more_body", False):
                await self._release()

    async def _release(self) -> None:
        self.engine_died = DEAD_ENGINE_TEXT in b"".join(message.get("body", b"") for message in self._held)
        for message in self._held if not self.engine_died else ():
            await self._send(message)
