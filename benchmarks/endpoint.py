"""The endpoint of the contest and its ablations: BENCH_BASE_URL, or a vLLM that starts when it is first needed.

`score_uncached` asks any endpoint for a prompt's replies.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType

from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.client import Client
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.stores import MEMORY, open_calls
from promptstill.engine import models, vllm
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.evaluate import ScoredRow, score_rows
from promptstill.task.examples import Example
from promptstill.task.recipe import Metric


def say(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


async def score_uncached(
    prompt: Prompt, rows: Sequence[Example], metric: Metric, endpoint: Endpoint
) -> list[ScoredRow]:
    """The prompt's results on the rows, in their order; every reply is asked for, and none is kept."""
    with closing(open_calls(MEMORY)) as store:
        async with Client(endpoint, store, Allowance()) as client:
            return await score_rows(prompt, rows, metric, client)


class BenchEndpoint:
    """BENCH_MODEL, or the embedded model, as served at `url`; the engine ends with the context."""

    def __init__(self) -> None:
        self.model = os.environ.get("BENCH_MODEL", models.EMBEDDED)
        self._stack = ExitStack()
        self._engine: vllm.Engine | None = None

    def __enter__(self) -> BenchEndpoint:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """The base URL. An engine that has died is replaced, so that no part pays for another's failure."""
        if given := os.environ.get("BENCH_BASE_URL"):
            return given
        if self._engine is None or not self._engine.alive():
            self._stack.close()
            model = models.find_model(self.model, say)
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-engine-")))
            self._engine = self._stack.enter_context(vllm.running_engine(model, folder / "engine.log", say))
        return self._engine.base_url


_shared: ContextVar[BenchEndpoint | None] = ContextVar("shared", default=None)


@contextmanager
def shared_endpoint() -> Iterator[None]:
    """Within it every `open_endpoint` gives the same one, so that parts that follow each other start one engine."""
    with BenchEndpoint() as endpoint:
        token = _shared.set(endpoint)
        try:
            yield
        finally:
            _shared.reset(token)


@contextmanager
def open_endpoint() -> Iterator[BenchEndpoint]:
    """The shared endpoint, or one that ends with this context."""
    if shared := _shared.get():
        yield shared
    else:
        with BenchEndpoint() as own:
            yield own
