"""The server in a process of its own, ended by a signal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests import artifacts
from tests.waiting import eventually

ROOT = Path(__file__).parents[1]


SERVER = """
import asyncio, contextlib, sys, uvicorn
from types import SimpleNamespace
from pathlib import Path
from serving.middleware import Setup, Variants
from serving.settings import Settings
from serving.variants import load
from tests.upstream import Upstream

class Slow(Upstream):
    async def _wait(self, receive):
        await asyncio.sleep(0.15)

class Server(uvicorn.Server):  # as vLLM's: signals are its application's business
    @contextlib.contextmanager
    def capture_signals(self):
        yield

async def app(scope, receive, send):
    await variants({**scope, "app": state}, receive, send)

settings = Settings(artifacts=(), adapters=(), seeds=False, keyed=False, access_log=sys.argv[2])
variants = Variants(Slow(), Setup(load([Path(sys.argv[1])], []), settings))
server = Server(uvicorn.Config(app, port=int(sys.argv[3]), log_level="warning"))
state = SimpleNamespace(state=SimpleNamespace(server=server))
asyncio.run(server.serve())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_requests_finish(tmp_path: Path, number: int) -> None:
    best = artifacts.write_best(tmp_path / "b.json", "qa", artifacts.qa_prompt("raw", "fake"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = [sys.executable, "-c", SERVER, str(best), str(tmp_path / "access.jsonl"), str(port)]
    url = f"http://127.0.0.1:{port}"

    def up() -> bool:
        try:
            return httpx.get(f"{url}/health", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    with subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        try:
            assert eventually(up)
            body = {"model": "qa-prompt", "messages": [{"role": "user", "content": '{"context": "", "question": ""}'}]}
            with httpx.stream("POST", f"{url}/v1/chat/completions", json=body | {"stream": True}, trust_env=False,
                              timeout=60) as reply:  # fmt: skip
                lines = reply.iter_lines()
                first = next(lines)
                process.send_signal(number)
                assert eventually(lambda: not up(), 3)
                rest = [line for line in lines if line]
            assert first.startswith("data: {") and rest[-1] == "data: [DONE]"
            assert process.wait(10) == 0
        finally:
            process.kill()
