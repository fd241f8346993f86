"""An endpoint that answers at once, in a process of its own, so that only our own work is measured.

python -m benchmarks.speed.fake_engine     # prints its port; ends when its standard input is closed
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

MODEL = "fake"


@contextmanager
def running_fake_engine() -> Iterator[str]:
    """The base URL of a fake engine, started here and ended with the block."""
    argv = [sys.executable, "-m", "benchmarks.speed.fake_engine"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


async def models(request: web.Request) -> web.Response:
    return web.json_response({"data": [{"id": MODEL}]})


async def complete(request: web.Request) -> web.Response:
    """yes or no, by the request's hash: the same body always gets the same reply."""
    reply = ("yes", "no")[zlib.crc32(await request.read()) % 2]
    choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 64, "completion_tokens": 1, "total_tokens": 65}
    return web.json_response({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})


async def serve() -> None:
    app = web.Application(client_max_size=2**24)
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
