"""A web application on a free loopback port, in a thread of its own: what the proxy and the tests' fake stand on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from aiohttp import web

START_S = 10


@contextmanager
def run_application(build: Callable[[], Awaitable[web.Application]]) -> Iterator[int]:
    """The port, while the block runs. `build` makes the application on the thread's loop; what it raises is raised."""
    loop, port = asyncio.new_event_loop(), Future[int]()

    async def start() -> web.AppRunner:
        runner = web.AppRunner(await build(), shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    def serve() -> None:
        asyncio.set_event_loop(loop)
        try:
            runner = loop.run_until_complete(start())
        except Exception as error:  # handed to the thread that waits for the port
            port.set_exception(error)
            return
        port.set_result(runner.addresses[0][1])
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield port.result(START_S)
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(loop.stop)
        thread.join(START_S)
        loop.close()
