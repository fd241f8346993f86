"""The few ASGI pieces that the middleware is made of: reading, replaying and buffering bodies; refusing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

BODY_PATIENCE_S = 60.0
TYPES = {400: "BadRequestError", 401: "Unauthorized", 404: "NotFoundError", 408: "RequestTimeout",
         413: "PayloadTooLarge", 422: "UnprocessableEntityError", 429: "TooManyRequests",
         503: "ServiceUnavailableError"}  # fmt: skip


class Refusal(Exception):
    """A request answered by an error: `kind` is what metrics count it as, `param` the field that is wrong."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.param = status, kind, param

    @property
    def body(self) -> bytes:
        """OpenAI's error object, as vLLM writes it."""
        error = {"message": str(self), "type": TYPES[self.status], "param": self.param, "code": self.status}
        return json.dumps({"error": error}, ensure_ascii=False).encode()

    @property
    def headers(self) -> Headers:
        extra = {401: (b"www-authenticate", b"Bearer"), 429: (b"retry-after", b"1"), 503: (b"retry-after", b"5")}
        return [extra[self.status]] if self.status in extra else []


class Disconnected(Exception):
    """The client left before its request was whole."""


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that (lower-case) name."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


def without(headers: Iterable[tuple[bytes, bytes]], *names: bytes) -> Headers:
    """The headers but for those named."""
    return [(name, value) for name, value in headers if name.lower() not in names]


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The request's body, of at most `limit` bytes. Raises `Refusal` (413, 408) or `Disconnected`."""
    announced = header(scope, b"content-length") or "0"
    if announced.isdigit() and int(announced[:20]) > limit:
        raise too_large(limit)
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_PATIENCE_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > limit:
                    raise too_large(limit)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError as error:
        raise Refusal(408, "invalid", f"The request's body did not arrive within {BODY_PATIENCE_S:.0f} s.") from error


def too_large(limit: int) -> Refusal:
    return Refusal(413, "too_large", f"The request's body is larger than {limit:,} bytes.")


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that hands out `body` whole, and then whatever comes (the client's leaving)."""
    left = [body]

    async def next_message() -> Message:
        return {"type": "http.request", "body": left.pop(), "more_body": False} if left else await receive()

    return next_message


async def respond(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """A whole JSON response."""
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Buffered:
    """A `send` that keeps the response."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", []))
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    async def replay(self, send: Send, body: bytes) -> None:
        """The response with another body."""
        headers = [*without(self.headers, b"content-length"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
