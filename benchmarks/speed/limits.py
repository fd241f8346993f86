"""How requests go where an endpoint allows so many a minute: how long they take, and how many are refused.

    python -m benchmarks limits

A server on loopback refuses by a limit of one of three kinds, with `Retry-After` or without. All are asked side by
side, in real time, and the machine is idle meanwhile.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from typing import Any

from aiohttp import web

from benchmarks.cells import FAST, RESULTS, Key, read, store
from benchmarks.results import table
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.client import Client
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.stores import MEMORY, open_calls

PART = "limits"
REQUESTS, FAST_REQUESTS, A_MINUTE = 600, 60, 50
ANSWER_S = 0.5
Limiter = Callable[[float], float | None]  # from the time to None, or the seconds until it would admit


def sliding(limit: int, span: float = 60.0) -> Limiter:
    """So many requests in any span of seconds."""
    admitted: deque[float] = deque()

    def take(now: float) -> float | None:
        while admitted and admitted[0] <= now - span:
            admitted.popleft()
        if len(admitted) >= limit:
            return admitted[0] + span - now
        admitted.append(now)
        return None

    return take


def fixed(limit: int, span: float = 60.0) -> Limiter:
    """So many requests in each span of the clock."""
    counts: dict[int, int] = {}

    def take(now: float) -> float | None:
        place = int(now // span)
        counts[place] = counts.get(place, 0) + 1
        return None if counts[place] <= limit else (place + 1) * span - now

    return take


def bucket(limit: int, span: float = 60.0) -> Limiter:
    """A bucket of so many, refilled steadily within the span."""
    level, at = float(limit), 0.0

    def take(now: float) -> float | None:
        nonlocal level, at
        level, at = min(limit, level + (now - at) * limit / span), now
        if level < 1:
            return (1 - level) * span / limit
        level -= 1
        return None

    return take


KINDS = {"any minute": sliding, "each minute of the clock": fixed, "a bucket": bucket}


def run(fast: bool) -> None:
    asyncio.run(measure_all(fast))


async def measure_all(fast: bool) -> None:
    folder, requests = (FAST, FAST_REQUESTS) if fast else (RESULTS, REQUESTS)
    keys: list[Key] = [
        {"limit": kind, "Retry-After": says, "requests": requests, "a minute": A_MINUTE}
        for kind in KINDS
        for says in ("yes", "no")
    ]
    stored = [one["key"] for one in read(PART, folder)]
    todo = [key for key in keys if key not in stored]
    for key, result in zip(todo, await asyncio.gather(*map(measure, todo)), strict=True):
        store(PART, key, result, result["seconds"], folder=folder)


async def measure(key: Key) -> dict[str, Any]:
    """The seconds that the requests take, and how many were refused."""
    counts = {"answered": 0, "refused": 0}
    rates: list[float] = []
    limiter = KINDS[str(key["limit"])](int(key["a minute"]))
    async with serve(limiter, counts, says=key["Retry-After"] == "yes") as url:
        with closing(open_calls(MEMORY)) as calls:
            async with Client(Endpoint(url, "limits"), calls, Allowance()) as client:
                client.pacer.on_rate = lambda rate: rates.append(60 * rate)
                began = time.monotonic()
                bodies = [{"model": "m", "messages": [], "number": number} for number in range(int(key["requests"]))]
                await asyncio.gather(*(client.complete(body, "task") for body in bodies))
                seconds = time.monotonic() - began
    return {"seconds": seconds, **counts, "rates": rates}


@asynccontextmanager
async def serve(limiter: Limiter, counts: dict[str, int], *, says: bool) -> AsyncIterator[str]:
    """The URL of a server that answers what the limiter admits."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        wait = limiter(time.monotonic())
        counts["answered" if wait is None else "refused"] += 1
        if wait is not None:
            headers = {"Retry-After": str(math.ceil(wait))} if says else {}
            return web.json_response({"error": {"message": "Rate limit reached"}}, status=429, headers=headers)
        await asyncio.sleep(ANSWER_S)
        choice = {"message": {"content": "yes"}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def section(records: list[dict[str, Any]]) -> str:
    """The part's Markdown, from stored cells alone."""
    rows = []
    for record in records:
        key, result = record["key"], record["result"]
        sent = result["answered"] + result["refused"]
        refused = f"{result['refused']} of {sent:,} ({100 * result['refused'] / sent:.1f} %)"
        minutes = f"{result['seconds'] / 60:.1f}"
        rate = f"{result['rates'][-1]:.0f}" if result["rates"] else "none"
        rows.append(
            [f"{key['a minute']} in {key['limit']}", key["Retry-After"], str(key["requests"]), minutes, refused, rate]
        )
    lines = ["## Rate limits", "", "Requests through the client at an endpoint with a limit, in real time.", ""]
    head = ["limit", "says `Retry-After`", "requests", "minutes", "refused", "rate at the end, a minute"]
    return "\n".join([*lines, *table(head, rows)])
