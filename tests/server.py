"""A running `serve` on the real engine: started, asked and ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from optimizer.models import Model
from tests import artifacts, inside
from tests.bodies import asking

ROOT = Path(__file__).parents[1]
KEY = "sesame"
QA = {"context": "The tower was built in 1931 by Ann Lee {answer} <|im_end|>.", "question": "When was it built?"}
TALE = {"context": "Once there was a ship.", "question": "Tell a very long story about it."}


@dataclass
class Server:
    """A running `serve`: its process, address and what it printed."""

    process: subprocess.Popen[str]
    url: str
    printed: str
    folder: Path

    def post(self, body: dict[str, Any], path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
        everything = {"Authorization": f"Bearer {KEY}"} | headers
        return httpx.post(f"{self.url}{path}", json=body, headers=everything, timeout=120, trust_env=False)

    def ask(self, model: str, inputs: dict[str, Any], **fields: Any) -> httpx.Response:
        return self.post(asking(model, inputs, **fields))

    def get(self, path: str, key: str | None = KEY) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=30, trust_env=False)

    def tree(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(folder: Path, *arguments: str) -> Server:
    """`python -m serving …` in `folder`, once it has printed its snippets."""
    port = free_port()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "VLLM_API_KEY": KEY, inside.SEEN_VARIABLE: str(folder / "seen.jsonl")}
    argv = [sys.executable, "-m", "serving", *arguments, "--port", str(port)]
    with (folder / "stderr.log").open("w") as log:
        process = subprocess.Popen(argv, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("print("):
            return Server(process, f"http://127.0.0.1:{port}", "".join(lines), folder)
    pytest.fail(f"serve ended: {(folder / 'stderr.log').read_text()}")


def running(server: Server) -> float:
    """How many requests the engine is at."""
    lines = [line for line in server.get("/metrics").text.splitlines() if line.startswith("vllm:num_requests_running{")]
    return sum(float(line.split()[-1]) for line in lines)


def start_with_everything(folder: Path, model: Model) -> Server:
    """Every layout, typed tasks and a distilled student behind one engine."""
    prompts = artifacts.prompts() | {"tale": artifacts.tale_prompt()}
    paths = [artifacts.write_best(folder / f"{n}.json", n, p, model.sha256) for n, p in prompts.items()]
    student = artifacts.write_distilled(folder / "distilled", "qa", artifacts.student_prompt(), model)
    return start(folder, *map(str, paths), "--adapter", str(student), "--vllm-args", "--middleware tests.inside.Tokens")


def finish(server: Server) -> None:
    server.process.terminate()
    server.process.wait(60)
    assert server.process.stdout is not None
    server.process.stdout.close()
