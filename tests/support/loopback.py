"""A web application on a free loopback port, in a thread of its own: what the proxy and the tests' fake stand on.

Also a guard that lets no socket leave this machine.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from aiohttp import web

START_S = 10


def is_elsewhere(family: int, address: Any) -> bool:
    """Whether a socket's address is another machine's. A name other than localhost counts as one."""
    if family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        return not ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return bool(address[0] != "localhost")


@contextmanager
def loopback_only() -> Iterator[None]:
    """Let no socket of this process connect to another machine in the block, which then fails."""
    strangers: list[Any] = []
    wires = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex")}

    def guarded(name: str) -> Callable[[socket.socket, Any], Any]:
        def connect(self: socket.socket, address: Any) -> Any:
            if is_elsewhere(self.family, address):
                strangers.append(address)
                raise ConnectionRefusedError(f"{address} is another machine's")
            return wires[name](self, address)

        return connect

    guards: dict[str, Any] = {name: guarded(name) for name in wires}
    with patch.multiple(socket.socket, **guards):
        yield
    assert not strangers, f"connected to {strangers}"


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
