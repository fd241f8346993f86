"""Health while the variants are warmed, over the application's lifespan."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from serving.asgi import Message
from serving.middleware import Variants
from serving.variants import Served
from tests.conversation import KEY, middleware, talk
from tests.upstream import Upstream


@asynccontextmanager
async def alive(app: Variants) -> Any:
    """The application's lifespan."""
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan"}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    assert (await from_app.get())["type"] == "lifespan.startup.complete"
    yield
    await to_app.put({"type": "lifespan.shutdown"})
    await life


def test_health_waits_until_all_is_warm(served: Served, access: Path) -> None:
    upstream = Upstream("hot")
    app = middleware(served, upstream, access, KEY)

    async def watch(client: httpx.AsyncClient) -> None:
        upstream.gate = asyncio.Event()
        async with alive(app):
            await asyncio.sleep(0.05)
            cold = await client.get("/health")
            assert cold.status_code == 503 and cold.json()["waiting"] == list(served.variants)
            upstream.gate.set()
            for _ in range(100):
                await asyncio.sleep(0.01)
                if app.warmth.ready:
                    break
            assert (await client.get("/health")).status_code == 200
        assert len(upstream.bodies) == 2 * len(served.variants)
        assert all(body["max_tokens"] == 1 for body in upstream.bodies)

    talk(app, watch)
    assert app.warmth.cached["feel-prompt"] == (64, 100)


def test_a_variant_that_cannot_be_warmed_is_said(served: Served, access: Path) -> None:
    app = middleware(served, Upstream(error=(400, {"error": {"message": "prompt too long"}})), access)

    async def watch(client: httpx.AsyncClient) -> None:
        async with alive(app):
            while app.warmth.failed is None:
                await asyncio.sleep(0.01)
            cold = await client.get("/health")
            assert cold.status_code == 503 and "prompt too long" in cold.json()["failed"]

    talk(app, watch)
