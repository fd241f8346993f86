"""A signal ends a server that runs in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from serving.plan import MIDDLEWARE
from serving.settings import MiddlewareSettings
from tests.support import ROOT, artifacts
from tests.support.server import free_port
from tests.support.waiting import eventually


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_requests_finish(tmp_path: Path, number: int) -> None:
    best = artifacts.write_best(tmp_path / "b.json", "qa", artifacts.qa_prompt("raw", "fake"))
    port = free_port()
    settings = MiddlewareSettings(artifacts=(str(best),), adapters=(), seeds=False, keyed=False)
    argv = [sys.executable, "-m", "tests.serving.fake_vllm", "--host", "127.0.0.1", "--port", str(port)]
    argv += ["--middleware", MIDDLEWARE]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings.to_environment()}
    url = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        try:
            return httpx.get(f"{url}/health", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            assert eventually(is_up)
            body = {"model": "qa-prompt", "messages": [{"role": "user", "content": '{"context": "", "question": ""}'}]}
            with httpx.stream("POST", f"{url}/v1/chat/completions", json=body | {"stream": True}, trust_env=False,
                              timeout=60) as reply:  # fmt: skip
                lines = reply.iter_lines()
                first = next(lines)
                process.send_signal(number)
                assert eventually(lambda: not is_up(), 3)
                rest = [line for line in lines if line]
            assert first.startswith("data: {") and rest[-1] == "data: [DONE]"
            assert process.wait(10) == 0
        finally:
            process.kill()
