"""Serve prompts and distilled models behind one vLLM endpoint. Imports none of DSPy, Optuna, torch and vLLM."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from promptstill.events import Listener, silent, teller
from serving.client import Client
from serving.settings import ServeSettings

if TYPE_CHECKING:
    from serving.server import RunningServer

__all__ = ["Client", "ServeSettings", "serve"]


def serve(settings: ServeSettings, *, runs: str | Path = "runs", listener: Listener = silent) -> RunningServer:
    """Serve prompts and distilled models, as the command does; also from a notebook, inside a running event loop.

    Returns once every model answers, usually after a minute. The server runs in a process of its own, until the `with`
    block of what is returned ends, or its `stop()`; at the latest it ends with this process.

    settings: what to serve, `ServeSettings(artifacts=("best.json",))`. runs: where the folder with the logs goes.
    listener: hears events (promptstill.events) while the server starts.

    Raises `UserError` (a mistake in artifacts or settings) and `InfrastructureError` (engine, port, memory, disk).
    """
    from promptstill.engine.machine import this_machine
    from promptstill.extras import require
    from serving.plan import plan_server
    from serving.server import start_server

    require("serve", ("local", "cuda"), "vllm")
    say = teller(listener)
    return start_server(plan_server(settings, this_machine(), say), Path(runs), say)
