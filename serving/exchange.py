"""One HTTP exchange: what is answered, and what metrics and the access log will say of it."""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from serving.asgi import App, Headers, Message, Receive, Refusal, Scope, Send, header, respond, without
from serving.gate import path_of
from serving.replies import DEAD_ENGINE, Usage, dead
from serving.variants import Variant

REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@dataclass
class Exchange:
    """Wraps one exchange's `receive` and `send`; `kind` says what kind of error it ended in, None for none."""

    scope: Scope
    wire_receive: Receive
    wire_send: Send
    variant: Variant | None = None
    model: str | None = None
    kind: str | None = None
    status: int = 0
    streamed: bool = False
    usage: Usage = field(default_factory=Usage)
    complete: bool = False

    def __post_init__(self) -> None:
        self.began, self.began_at = time.perf_counter(), datetime.now(UTC)
        given = header(self.scope, b"x-request-id") or ""
        self.id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        self.seconds = 0.0

    async def receive(self) -> Message:
        """The client's next message; its leaving before the end is noted."""
        message = await self.wire_receive()
        if message["type"] == "http.disconnect" and not self.complete:
            self.kind = "disconnected"
        return message

    async def send(self, message: Message) -> None:
        """To the client, with the headers that name the exchange and the artifact."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*without(message.get("headers", []), b"x-request-id"), *self._headers]
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
        """Answer by an error."""
        self.kind = refusal.kind
        await respond(self.send, refusal.status, refusal.body, refusal.headers)

    def end(self) -> None:
        """Called once, when nothing more will be sent."""
        self.seconds = time.perf_counter() - self.began
        if self.kind is None and (self.status >= 400 or not self.complete):
            self.kind = "refused" if 400 <= self.status < 500 else "engine"

    def record(self) -> dict[str, Any]:
        """The access log's line; it holds nothing of what was asked or answered."""
        client = self.scope.get("client")
        line = {
            "time": self.began_at.isoformat(timespec="milliseconds"),
            "request_id": self.id,
            "client": client[0] if client else None,
            "method": self.scope["method"],
            "path": path_of(self.scope)[:200],
            "model": self.model,
            "artifact": self.variant.artifact[:12] if self.variant else None,
            "status": self.status,
            "ms": round(self.seconds * 1000, 2),
            "stream": self.streamed or None,
            "error": self.kind,
        }
        if self.variant:
            line |= vars(self.usage)
        return {key: value for key, value in line.items() if value is not None}


async def ask_engine(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Call vLLM's application. Raises `Refusal` (503) where it answers that its engine has died."""
    alive = WhileAlive(send)
    await app(scope, receive, alive.send)
    if alive.died:
        raise dead()


class WhileAlive:
    """A `send` that keeps vLLM's 500 for a dead engine back; everything else passes through as it comes."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: list[Message] = []
        self.died = False

    async def send(self, message: Message) -> None:
        """Only a 500 is held back, until it is whole."""
        if message["type"] == "http.response.start" and message["status"] == 500:
            self._held.append(message)
        elif not self._held:
            await self._send(message)
        else:
            self._held.append(message)
            if not message.get("more_body", False):
                await self._release()

    async def _release(self) -> None:
        self.died = DEAD_ENGINE in b"".join(message.get("body", b"") for message in self._held)
        for message in self._held if not self.died else ():
            await self._send(message)
