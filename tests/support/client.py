"""A client of an endpoint, mostly a fake one, for the length of one piece of work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TypeVar

from promptstill.endpoint.allowance import Allowance, Limits
from promptstill.endpoint.client import Client
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.stores import file_url, open_calls

Result = TypeVar("Result")


class Served(Protocol):
    """What has an address: a fake, or the real engine."""

    @property
    def base_url(self) -> str: ...


def run_with_client(
    served: Served,
    folder: Path,
    work: Callable[[Client], Awaitable[Result]],
    limits: Limits | None = None,
    **endpoint: Any,
) -> Result:
    """What `work` returns for a client that asks `served` and stores its calls in `folder`."""

    async def run() -> Result:
        with closing(open_calls(file_url(folder / "calls.db"))) as store:
            allowance = Allowance(limits, store.totals())
            async with Client(Endpoint(served.base_url, "weights", **endpoint), store, allowance) as client:
                return await work(client)

    return asyncio.run(run())
