"""A small server with the middleware and slow replies, which a test ends by a signal.

python -m tests.serving.signal_server BEST.json ACCESS.jsonl PORT
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import uvicorn

from serving.asgi import Receive, Scope, Send
from serving.variants import load_variants
from tests.serving.conversation import middleware
from tests.serving.upstream import Upstream


class SlowUpstream(Upstream):
    async def _wait(self, receive: Receive) -> None:
        await asyncio.sleep(0.15)


class Server(uvicorn.Server):
    """Leaves signals to its application, as vLLM's server does."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main(best: Path, access_log: Path, port: int) -> None:
    variants = middleware(load_variants([best], []), SlowUpstream(), access_log)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await variants({**scope, "app": state}, receive, send)

    server = Server(uvicorn.Config(app, port=port, log_level="warning"))
    state = SimpleNamespace(state=SimpleNamespace(server=server))
    asyncio.run(server.serve())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
