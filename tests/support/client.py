"""A client of a fake endpoint, for the length of one piece of work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from promptstill.endpoint.allowance import Allowance, Limits
from promptstill.endpoint.client import Client
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.stores import file_url, open_calls
from tests.support.fake import FakeEndpoint

Result = TypeVar("Result")


def run_with_client(
    fake: FakeEndpoint,
    folder: Path,
    work: Callable[[Client], Awaitable[Result]],
    limits: Limits | None = None,
    **endpoint: Any,
) -> Result:
    """What `work` returns for a client that asks `fake` and stores its calls in `folder`."""

    async def run() -> Result:
        with closing(open_calls(file_url(folder / "calls.db"))) as store:
            allowance = Allowance(limits, store.totals())
            async with Client(Endpoint(fake.base_url, "weights", **endpoint), store, allowance) as client:
                return await work(client)

    return asyncio.run(run())
