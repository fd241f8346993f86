"""The endpoint of the contest and its ablations: BENCH_BASE_URL, or a vLLM that starts when it is first needed."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType

from optimizer import engine, models


def say(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


class Endpoint:
    """BENCH_MODEL, or the embedded model, as served at `url`; the engine ends with the context."""

    def __init__(self) -> None:
        self.model = os.environ.get("BENCH_MODEL", models.EMBEDDED)
        self._stack = ExitStack()
        self._engine: engine.Engine | None = None

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """Where it answers; an engine that has died is replaced, so that no part pays for another's failure."""
        if there := os.environ.get("BENCH_BASE_URL"):
            return there
        if self._engine is None or not self._engine.alive():
            self._stack.close()
            model = models.resolve(self.model, say)
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-engine-")))
            self._engine = self._stack.enter_context(engine.running(model, folder / "engine.log", say))
        return self._engine.base_url


_shared: ContextVar[Endpoint | None] = ContextVar("shared", default=None)


@contextmanager
def sharing() -> Iterator[None]:
    """Within it every `endpoint` is the same one, so that parts that follow each other start one engine."""
    with Endpoint() as one:
        token = _shared.set(one)
        try:
            yield
        finally:
            _shared.reset(token)


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    """The shared endpoint, or one that ends with this context."""
    if shared := _shared.get():
        yield shared
    else:
        with Endpoint() as own:
            yield own
