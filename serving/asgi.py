"""The few ASGI pieces that the middleware needs: read and replay request bodies, buffer responses, refuse requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

BODY_TIMEOUT_S = 60.0
ERROR_TYPES = {400: "BadRequestError", 401: "Unauthorized", 404: "NotFoundError", 408: "RequestTimeout",
               413: "PayloadTooLarge", 422: "UnprocessableEntityError", 429: "TooManyRequests",
               503: "ServiceUnavailableError"}  # fmt: skip


class Refusal(Exception):
    """A request that is answered with an error. Metrics count it under `kind`; `param` is the field that is wrong."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.param = status, kind, param

    @property
    def body(self) -> bytes:
        """OpenAI's error object, as vLLM writes it."""
        error = {"message": str(self), "type": ERROR_TYPES[self.status], "param": self.param, "code": self.status}
        return encode_json({"error": error})

    @property
    def headers(self) -> Headers:
        extra = {401: (b"www-authenticate", b"Bearer"), 429: (b"retry-after", b"1"), 503: (b"retry-after", b"5")}
        return [extra[self.status]] if self.status in extra else []


def encode_json(value: object, **options: Any) -> bytes:
    """JSON in UTF-8. Half of a surrogate pair, which a client's key or a reply may hold, is written as its escape."""
    return json.dumps(value, ensure_ascii=False, **options).encode("utf-8", "backslashreplace")


class Disconnected(Exception):
    """The client closed the connection before it had sent the whole request."""


def header(scope: Scope, name: bytes) -> str | None:
    """The value of the first header of that (lower-case) name."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


def drop_headers(headers: Iterable[tuple[bytes, bytes]], *names: bytes) -> Headers:
    """The headers without those of these (lower-case) names."""
    return [(name, value) for name, value in headers if name.lower() not in names]


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The request's body, of at most `limit` bytes. Raises `Refusal` (413, 408) or `Disconnected`."""
    announced = header(scope, b"content-length") or "0"
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise too_large_refusal(limit)
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > limit:
                    raise too_large_refusal(limit)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError as error:
        raise Refusal(408, "invalid", f"The request's body did not arrive within {BODY_TIMEOUT_S:.0f} s.") from error


async def call(function: Callable[[Given], Made], value: Given, *, in_thread: bool) -> Made:
    """`function(value)`. In a thread it keeps no other request waiting, but takes about 0.1 ms more."""
    return await asyncio.to_thread(function, value) if in_thread else function(value)


def too_large_refusal(limit: int) -> Refusal:
    return Refusal(413, "too_large", f"The request's body is larger than {limit:,} bytes.")


def replay_body(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the whole `body` first, and then what `receive` returns (that the client has left)."""
    unread = [body]

    async def next_message() -> Message:
        return {"type": "http.request", "body": unread.pop(), "more_body": False} if unread else await receive()

    return next_message


async def respond(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """Send a whole JSON response."""
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send_whole(send, status, [*own, *headers], body)


async def send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass
class BufferedResponse:
    """A response that is kept here; its `send` is what the application gets."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", []))
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    async def forward(self, send: Send, body: bytes) -> None:
        """Send the response with `body` in place of its own."""
        length = (b"content-length", str(len(body)).encode())
        await send_whole(send, self.status, [*drop_headers(self.headers, b"content-length"), length], body)
