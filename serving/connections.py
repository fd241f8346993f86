"""Bounds the connections of one server: a client that does not send a request's headers in time is cut off.

uvicorn, which vLLM runs, waits for headers forever, and its own limit counts connections that wait. What is read of its
protocol objects (`cycle`, `timeout_keep_alive_task`, `transport`) is the same for h11 and for httptools.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

HEADER_TIMEOUT_S = 10.0
WAITING_CONNECTIONS = 100
CONNECTIONS = 1000
POLL_S = 1.0


class ConnectionWatch:
    """Watches the connections of a uvicorn server.

    header_timeout_s: how long a request's headers may take. most_waiting: the most connections that wait for headers at
    once; of more, the oldest are closed first. most: with as many connections uvicorn answers new requests with 503.
    """

    def __init__(
        self,
        server: Any,
        *,
        header_timeout_s: float = HEADER_TIMEOUT_S,
        most_waiting: int = WAITING_CONNECTIONS,
        most: int = CONNECTIONS,
    ) -> None:
        self.server, self.header_timeout_s, self.most_waiting = server, header_timeout_s, most_waiting
        if server.config.limit_concurrency is None:  # a protocol reads it when its connection is made
            server.config.limit_concurrency = most
        self._since: dict[Any, tuple[object, float]] = {}

    async def run(self) -> None:
        """Look at the connections once a second, or more often where the timeout is short. Does not return."""
        while True:
            self.close_late(asyncio.get_running_loop().time())
            await asyncio.sleep(min(POLL_S, self.header_timeout_s / 5))

    def close_late(self, now: float) -> None:
        """Close the connections that have waited too long, and the oldest of too many. `now` is the loop's time."""
        before, self._since = self._since, {}
        for connection in filter(is_waiting, self.server.server_state.connections):
            cycle, since = before.get(connection, (None, now))
            # Another cycle means that a request was answered since: the wait is a new one.
            self._since[connection] = (connection.cycle, since if cycle is connection.cycle else now)
        oldest_first = sorted(self._since, key=lambda connection: self._since[connection][1])
        too_many = len(oldest_first) - self.most_waiting
        for number, connection in enumerate(oldest_first):
            if number < too_many or now - self._since[connection][1] > self.header_timeout_s:
                close(connection.transport)


def is_waiting(connection: Any) -> bool:
    """Whether a connection waits for a request's headers, or for its client to read the last bytes of a closed one.

    An idle connection, on which uvicorn's keep-alive timer runs, is uvicorn's to close. A websocket has no `cycle`.
    """
    if not hasattr(connection, "cycle"):
        return False
    is_idle = connection.cycle is None or connection.cycle.response_complete
    return connection.transport.is_closing() or (is_idle and connection.timeout_keep_alive_task is None)


def close(transport: Any) -> None:
    """Close a connection; at once where it is closed already, and only its client holds it up."""
    if transport.is_closing():
        transport.abort()
    else:
        transport.close()


def report_failure(task: asyncio.Task[None]) -> None:
    """Called when the task of a watch has ended: an exception there leaves the server without its bounds."""
    if not task.cancelled() and (error := task.exception()):
        sys.stderr.write(f"connections are no longer watched: {type(error).__name__}: {error}\n")
