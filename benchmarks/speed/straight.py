"""The outermost middleware of a measured server: a way past ours, and a clock for ours.

A request with the header X-Straight goes to vLLM as it is. For the others, the seconds in our middleware itself
(before vLLM was called, and after it had answered) go to the file that TIMES_VARIABLE names, one a line.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from serving.asgi import App, Receive, Scope, Send, header
from serving.middleware import Variants

TIMES_VARIABLE = "PROMPTSTILL_TIMES"
STRAIGHT = b"x-straight"


class Straight:
    """Load it with `--middleware benchmarks.speed.straight.Straight`, after our own."""

    def __init__(self, app: Variants) -> None:
        self.around: App = app.app
        self.through = app
        app.app = self._timed
        self.times = Path(os.environ[TIMES_VARIABLE])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.through(scope, receive, send)
        elif header(scope, STRAIGHT):
            await self.around(scope, receive, send)
        else:
            inner: list[float] = []
            start = time.perf_counter()
            await self.through({**scope, "spent": inner}, receive, send)
            own = time.perf_counter() - start - sum(inner)
            with self.times.open("a") as file:
                file.write(f"{own:.7f}\n")

    async def _timed(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        await self.around(scope, receive, send)
        if "spent" in scope:
            scope["spent"].append(time.perf_counter() - start)
