"""What /health says while the variants are warmed up."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.asgi import Message
from serving.middleware import Variants
from serving.variants import ServedModels
from tests.serving.conversation import KEY, middleware, run_with_client
from tests.serving.upstream import Upstream


@asynccontextmanager
async def running_lifespan(app: Variants) -> Any:
    """Start the application, and shut it down at the end of the block."""
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    lifespan = asyncio.create_task(app({"type": "lifespan"}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    assert (await from_app.get())["type"] == "lifespan.startup.complete"
    yield
    await to_app.put({"type": "lifespan.shutdown"})
    await lifespan


def test_health_is_503_until_every_variant_is_warm(served: ServedModels, access_log: Path) -> None:
    upstream = Upstream("hot")
    app = middleware(served, upstream, access_log, KEY)

    async def check(client: httpx.AsyncClient) -> None:
        upstream.release = asyncio.Event()
        async with running_lifespan(app):
            await asyncio.sleep(0.05)
            cold = await client.get("/health")
            assert cold.status_code == 503 and cold.json()["waiting"] == list(served.variants)
            upstream.release.set()
            for _ in range(100):
                await asyncio.sleep(0.01)
                if app.warmup.ready:
                    break
            assert (await client.get("/health")).status_code == 200
        assert len(upstream.bodies) == 2 * len(served.variants)
        assert all(body["max_tokens"] == 1 for body in upstream.bodies)

    run_with_client(app, check)
    assert app.warmup.cached["feel-prompt"] == (64, 100)


@pytest.mark.parametrize("key", [None, KEY])
def test_health_says_why_a_variant_does_not_answer_to_those_with_the_key(
    served: ServedModels, access_log: Path, key: str | None
) -> None:
    app = middleware(served, Upstream(error=(400, {"error": {"message": "prompt too long"}})), access_log, key)

    async def check(client: httpx.AsyncClient) -> None:
        async with running_lifespan(app):
            while app.warmup.failed is None:
                await asyncio.sleep(0.01)
            cold = await client.get("/health", headers={"Authorization": f"Bearer {KEY}"})
            assert cold.status_code == 503 and "prompt too long" in cold.json()["failed"]
            for headers in ({}, {"Authorization": "Bearer wrong"}):
                other = await client.get("/health", headers=headers)
                assert other.status_code == 503 and ("prompt too long" in other.text) == (key is None)
                assert other.json()["failed"], "that it failed is for all to see"

    run_with_client(app, check)
