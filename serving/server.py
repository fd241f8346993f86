"""A server that runs: started as planned, and ended by `stop()`, with its block, or with the process that started it.

vLLM is a process of its own. Its guard (promptstill/engine/guard.py) ends it when this process ends, in whatever way.
"""

from __future__ import annotations

import secrets
import time
import weakref
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from promptstill.engine import vllm
from promptstill.engine.vllm import Engine
from promptstill.errors import InfrastructureError
from promptstill.events import Say
from serving.client import Client
from serving.plan import ServePlan

POLL_S = 0.2


class RunningServer:
    """A server that answers, for use in a `with` block, or until `stop()`.

    base_url: its OpenAI-compatible address, …/v1. folder: where its logs are, engine.log and access.jsonl.
    plan: what it serves, and by which settings.
    """

    def __init__(self, plan: ServePlan, engine: Engine, running: ExitStack) -> None:
        """`running` ends the engine."""
        self.plan, self.base_url, self.folder = plan, engine.base_url, engine.log_path.parent
        self._engine = engine
        # So a handle that nobody has any more ends its server, and so does the end of the program.
        self._end = weakref.finalize(self, running.close)

    @property
    def models(self) -> tuple[str, ...]:
        """The names that a client can ask for; the base model's, where it can be, is the last."""
        return self.plan.served.names

    def client(self) -> Client:
        """A new client of this server, which sends its key."""
        return Client(self.base_url, self.plan.settings.api_key)

    def wait(self) -> None:
        """Return once the server is stopped, by another thread. Raises `InfrastructureError` where vLLM has ended."""
        while self._engine.alive():
            time.sleep(POLL_S)
        if self._end.alive:
            raise InfrastructureError("vLLM has ended by itself.", self._engine.log_tail(), "Start serve again.")

    def stop(self) -> None:
        """End the server. Requests that still run get up to DRAIN_S seconds to finish; new ones are refused at once.

        Ctrl-C meanwhile ends it without waiting for them. A second call does nothing.
        """
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<server at {self.base_url}: {', '.join(self.models)}>"


def start_server(plan: ServePlan, runs: Path, say: Say) -> RunningServer:
    """The server, warmed up, with its logs in a new folder of `runs`."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = runs / f"serve-{stamp}-{secrets.token_hex(2)}"
    options, port = plan.vllm_options(folder / "access.jsonl"), plan.settings.port or None
    with ExitStack() as running:
        engine = running.enter_context(
            vllm.running_engine(
                plan.model, folder / "engine.log", say, port=port, adapters=plan.adapters, options=options
            )
        )
        return RunningServer(plan, engine, running.pop_all())
