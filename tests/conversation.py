"""Requests to the middleware in this process, and their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx

from serving.middleware import Setup, Variants
from serving.settings import Settings
from serving.variants import Served
from tests.upstream import Upstream

QA = {"context": "The mill {answer} was built in 1891.", "question": "When?"}
KEY = "sesame"
Test = Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]


def middleware(served: Served, upstream: Upstream, access: Path, key: str | None = None, **changes: Any) -> Variants:
    own: dict[str, Any] = {"artifacts": (), "adapters": (), "seeds": False, "keyed": False, "access_log": str(access)}
    return Variants(upstream, Setup(served, Settings(**(own | changes)), key))


def talk(app: Variants, test: Test) -> None:
    """Run `test` with a client of the middleware."""

    async def run() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            await test(client)

    asyncio.run(run())


def post(app: Variants, body: Any, path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
    """One request, its answer."""
    answers: list[httpx.Response] = []

    async def ask(client: httpx.AsyncClient) -> None:
        answers.append(await client.post(path, json=body, headers=headers))

    talk(app, ask)
    return answers[0]


def get(app: Variants, path: str, **headers: str) -> httpx.Response:
    answers: list[httpx.Response] = []

    async def ask(client: httpx.AsyncClient) -> None:
        answers.append(await client.get(path, headers=headers))

    talk(app, ask)
    return answers[0]


def message(response: httpx.Response) -> str:
    return str(response.json()["error"]["message"])
