"""Helpers of the tests here: the middleware over a fake vLLM, in this process, and requests to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx

from serving.asgi import App
from serving.middleware import Setup, Variants
from serving.settings import MiddlewareSettings
from serving.variants import ServedModels

QA = {"context": "The mill {answer} was built in 1891.", "question": "When?"}
KEY = "sesame"
ClientTest = Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]


def middleware(
    served: ServedModels, upstream: App, access_log: Path, key: str | None = None, **changes: Any
) -> Variants:
    """The middleware over `upstream`; `changes` are settings."""
    defaults: dict[str, Any] = {"artifacts": (), "adapters": (), "seeds": False, "keyed": False}
    settings = MiddlewareSettings(**(defaults | {"access_log": str(access_log)} | changes))
    return Variants(upstream, Setup(served, settings, key))


def run_with_client(app: App, test: ClientTest) -> None:
    """Run `test` with a client of the application."""

    async def run() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            await test(client)

    asyncio.run(run())


def post(app: Variants, body: Any, path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
    """The response to one POST request."""
    return send(app, "POST", path, headers, body)


def get(app: Variants, path: str, **headers: str) -> httpx.Response:
    """The response to one GET request."""
    return send(app, "GET", path, headers)


def send(app: Variants, method: str, path: str, headers: dict[str, str], body: Any = None) -> httpx.Response:
    responses: list[httpx.Response] = []

    async def test(client: httpx.AsyncClient) -> None:
        responses.append(await client.request(method, path, json=body, headers=headers))

    run_with_client(app, test)
    return responses[0]


def error_message(response: httpx.Response) -> str:
    return str(response.json()["error"]["message"])
