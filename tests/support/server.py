"""A running `serve` with the real engine: start it, send requests, stop it."""

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

from promptstill.engine.models import Model
from tests.support import ROOT, artifacts, inside
from tests.support.bodies import chat_body

KEY = "sesame"
PAGE = "https://page.example"  # the origin of web pages that may ask
QA = {"context": "The tower was built in 1931 by Ann Lee {answer} <|im_end|>.", "question": "When was it built?"}
STORY = {"context": "Once there was a ship.", "question": "Tell a very long story about it."}


@dataclass
class Server:
    """A running `serve`: its process, its address, what it printed, and its working directory."""

    process: subprocess.Popen[str]
    url: str
    printed: str
    folder: Path

    def post(self, body: dict[str, Any], path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
        all_headers = {"Authorization": f"Bearer {KEY}"} | headers
        return httpx.post(f"{self.url}{path}", json=body, headers=all_headers, timeout=120, trust_env=False)

    def ask(self, model: str, inputs: dict[str, Any], **fields: Any) -> httpx.Response:
        return self.post(chat_body(model, inputs, **fields))

    def get(self, path: str, key: str | None = KEY) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=30, trust_env=False)

    def child_processes(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(folder: Path, *arguments: str) -> Server:
    """Run `python -m serving …` in `folder`, and wait until it has printed its snippets."""
    port = free_port()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "VLLM_API_KEY": KEY}
    env[inside.TOKENS_VARIABLE] = str(folder / "tokens.jsonl")
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


def metric_values(server: Server) -> dict[str, float]:
    """All metrics, by name and labels."""
    accept = {"Accept": "application/openmetrics-text"}  # as Prometheus sends it
    text = httpx.get(f"{server.url}/metrics", headers=accept, timeout=30, trust_env=False).text
    samples = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in samples}


def running_requests(server: Server) -> float:
    """The number of requests that the engine works on now."""
    values = metric_values(server)
    return sum(value for name, value in values.items() if name.startswith("vllm:num_requests_running{"))


def start_with_all_artifacts(folder: Path, model: Model) -> Server:
    """Start a server of prompts in every layout, typed tasks, and a distilled student."""
    prompts = artifacts.prompts() | {"story": artifacts.story_prompt()}
    paths = [artifacts.write_best(folder / f"{n}.json", n, p, model.sha256) for n, p in prompts.items()]
    student = artifacts.write_distilled(folder / "distilled", "qa", artifacts.student_prompt(), model)
    more = f"--middleware tests.support.inside.Tokens --allowed-origins '[\"{PAGE}\"]'"
    return start(folder, *map(str, paths), "--adapter", str(student), "--vllm-args", more)


def finish(server: Server) -> None:
    """Stop the server if it still runs."""
    server.process.terminate()
    server.process.wait(60)
    assert server.process.stdout is not None
    server.process.stdout.close()
