"""A slow server in vLLM's place, without a model: it takes vLLM's arguments, and loads the middleware as vLLM does.

Its process is the one that `python -m vllm.entrypoints.openai.api_server` starts after `install`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn

from serving.asgi import App, Receive, Scope, Send
from tests.serving.upstream import REPORTED_CONTEXT, Upstream
from tests.support import ROOT

ANSWERS_VARIABLE = "FAKE_VLLM_ANSWERS"  # module:function, from a request's body to the text of the reply
FITTING_CONTEXT = 77  # tokens, where it is told to take as many as fit
DELAY_S = 0.15  # of each part of a streamed reply, and of each reply that is not streamed


class Server(uvicorn.Server):
    """Leaves signals to its application, as vLLM's server does."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, answers: str = "") -> Path:
    """Put it in vLLM's place for this test. Returns a folder that counts as its model's."""
    package = folder / "fake" / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    for parent in (package, package.parent, package.parent.parent):
        (parent / "__init__.py").touch()
    (package / "api_server.py").write_text("from tests.serving.fake_vllm import main\n\nmain()\n")
    monkeypatch.syspath_prepend(folder / "fake")
    monkeypatch.setenv("PYTHONPATH", f"{folder / 'fake'}{os.pathsep}{ROOT}")
    monkeypatch.setenv(ANSWERS_VARIABLE, answers)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # it needs none, so none need be free
    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"0")
    return model


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--middleware", action="append", default=[])
    parser.add_argument("--max-model-len")
    options, _ = parser.parse_known_args()
    answers = os.environ.get(ANSWERS_VARIABLE)
    context = FITTING_CONTEXT if options.max_model_len == "auto" else REPORTED_CONTEXT
    app: App = Upstream(answers=pkgutil.resolve_name(answers) if answers else None, delay_s=DELAY_S, context=context)
    for name in options.middleware:
        app = pkgutil.resolve_name(name)(app)
    state = SimpleNamespace(state=SimpleNamespace())

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "app": state}, receive, send)

    server = Server(uvicorn.Config(application, host=options.host, port=options.port, log_level="warning"))
    state.state.server = server
    asyncio.run(server.serve())


if __name__ == "__main__":
    main()
