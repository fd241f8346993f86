"""`serving.serve`: a server that a program starts, asks and ends. A small one stands in vLLM's place."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from promptstill.errors import InfrastructureError, RequestRefused, UserError
from promptstill.events import Event, Message
from serving import Client, ServeSettings, serve
from serving.server import RunningServer
from serving.settings import KEY_VARIABLE
from tests.serving.fake_vllm import ANSWERS_VARIABLE
from tests.support import artifacts
from tests.support.bodies import chat_body
from tests.support.server import free_port

QA = {"context": "The mill was built in 1891.", "question": "When?"}
SECRET = "sesame-0123456789"


@pytest.fixture
def settings(tmp_path: Path, fake_vllm: Path) -> ServeSettings:
    """Serves the recipe `qa`, on any free port."""
    best = artifacts.write_best(tmp_path / "best.json", "qa", artifacts.qa_prompt("raw", "fake"))
    return ServeSettings(artifacts=(best,), model=str(fake_vllm), port=0)


@pytest.fixture
def server(settings: ServeSettings, tmp_path: Path) -> Iterator[RunningServer]:
    with serve(settings, runs=tmp_path / "runs") as running:
        yield running


def own_processes(server: RunningServer) -> list[psutil.Process]:
    """The server's own process, and the guard before it."""
    port = server.base_url.removesuffix("/v1").rsplit(":", 1)[1]
    return [process for process in psutil.Process().children(recursive=True) if port in process.cmdline()]


def all_gone(processes: list[psutil.Process]) -> bool:
    return len(processes) == 2 and not any(process.is_running() for process in processes)


def is_up(server: RunningServer) -> bool:
    try:
        return httpx.get(f"{server.base_url}/models", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_a_notebook_starts_asks_and_stops_a_server(settings: ServeSettings, tmp_path: Path) -> None:
    heard: list[Event] = []

    async def notebook() -> RunningServer:
        with serve(settings, runs=tmp_path / "runs", listener=heard.append) as server:
            assert server.models == ("qa-prompt", "fake")
            with server.client() as client:
                assert client.ask("qa-prompt", **QA) == {"answer": "1891"}
                assert tuple(model["id"] for model in client.models()) == server.models
            async with httpx.AsyncClient(trust_env=False) as client_of_others:  # the loop is free for it meanwhile
                assert (await client_of_others.get(f"{server.base_url}/models")).status_code == 200
            return server

    server = asyncio.run(notebook())
    assert not is_up(server) and repr(server) == f"<server at {server.base_url}: qa-prompt, fake>"
    assert [event.text.split()[0] for event in heard if isinstance(event, Message)] == ["starting", "vLLM"]
    assert server.folder.parent == tmp_path / "runs"
    logged = [json.loads(line) for line in (server.folder / "access.jsonl").read_text().splitlines()]
    assert "qa-prompt" in [line.get("model") for line in logged]


def test_a_running_request_is_answered_while_it_stops(server: RunningServer) -> None:
    processes, url = own_processes(server), f"{server.base_url}/chat/completions"
    body = {**chat_body("qa-prompt", QA), "stream": True}
    with httpx.stream("POST", url, json=body, trust_env=False, timeout=60) as reply:
        lines = reply.iter_lines()
        first = next(lines)
        server.stop()
        rest = [line for line in lines if line]
    assert first.startswith("data: {") and rest[-1] == "data: [DONE]"
    assert all_gone(processes) and not is_up(server)
    server.stop()  # a second time it does nothing


def test_wait_returns_once_another_thread_has_stopped_it(server: RunningServer) -> None:
    stopper = threading.Timer(0.3, server.stop)
    stopper.start()
    server.wait()
    assert not is_up(server), "it has ended, and its port is free"
    stopper.join()


def test_wait_raises_where_vllm_ends_by_itself(server: RunningServer) -> None:
    guard, own = own_processes(server)
    assert guard.pid == own.ppid()
    own.kill()
    with pytest.raises(InfrastructureError, match="vLLM has ended by itself") as caught:
        server.wait()
    assert str(server.folder / "engine.log") in caught.value.why


def test_a_handle_that_nobody_has_any_more_ends_its_server(settings: ServeSettings, tmp_path: Path) -> None:
    server = serve(settings, runs=tmp_path / "runs")
    processes = own_processes(server)
    del server
    gc.collect()
    assert all_gone(processes)


def test_a_program_that_forgets_to_stop_it_ends_it(settings: ServeSettings, tmp_path: Path) -> None:
    code = (
        "import sys; from serving import ServeSettings, serve\n"
        "server = serve(ServeSettings(artifacts=(sys.argv[1],), model=sys.argv[2], port=0))\n"
        "print(server.base_url)"
    )
    argv = [sys.executable, "-c", code, str(settings.artifacts[0]), str(settings.model)]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{done.stdout.strip()}/models", trust_env=False)


def test_its_client_sends_the_key(settings: ServeSettings, tmp_path: Path) -> None:
    with serve(replace(settings, api_key="sesame"), runs=tmp_path / "runs") as server:
        with server.client() as client:
            assert client.ask("qa-prompt", **QA) == {"answer": "1891"}
        with Client(server.base_url) as stranger, pytest.raises(RequestRefused, match="key"):
            stranger.models()


def serve_command(settings: ServeSettings, folder: Path, *arguments: str, **environment: str) -> tuple[str, str]:
    """What `serve` prints, to standard output and error, and then its two snippets, pasted while it runs."""
    argv = [sys.executable, "-m", "serving", str(settings.artifacts[0]), "--model", str(settings.model), *arguments]
    argv += ["--port", str(free_port())]
    env = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE} | environment
    with (
        (folder / "stderr").open("w") as errors,
        subprocess.Popen(argv, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        printed = "".join(itertools.takewhile(lambda line: not line.startswith("print("), process.stdout))
        printed += "print(reply.choices[0].message.content)\n"
        curl, _, python = printed[printed.index("curl ") :].partition("# or in Python (pip install openai)\n")
        try:
            for argv in (["bash", "-c", curl], [sys.executable, "-c", python]):
                run = subprocess.run(argv, env=env | {KEY_VARIABLE: environment.get("PASTED", "")}, capture_output=True,
                                     text=True, timeout=60, check=False)  # fmt: skip
                assert "1891" in run.stdout, run.stdout + run.stderr
        finally:
            process.terminate()
            printed += process.stdout.read()
    return printed, (folder / "stderr").read_text()


@pytest.mark.parametrize("way", ["flag", "environment", "file"])
def test_a_key_is_nowhere_printed_nor_stored_and_the_snippets_work(
    settings: ServeSettings, tmp_path: Path, way: str
) -> None:
    key_file = tmp_path / "my key.txt"
    key_file.write_text(f" {SECRET}\n")
    key_file.chmod(0o600)
    arguments = {"flag": ["--api-key", SECRET], "environment": [], "file": ["--api-key-file", str(key_file)]}[way]
    environment = {"flag": {}, "environment": {KEY_VARIABLE: SECRET}, "file": {KEY_VARIABLE: "another"}}[way]
    pasted = {} if way == "file" else {"PASTED": SECRET}
    printed, errors = serve_command(settings, tmp_path, *arguments, **environment, **pasted)
    assert SECRET not in printed + errors and ("warning: --api-key shows the key" in errors) == (way == "flag")
    logs = {path.name: path for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    assert {path.stat().st_mode & 0o777 for path in logs.values()} == {0o600} and len(logs) == 2
    assert not [name for name, path in logs.items() if SECRET in path.read_text()]


def test_a_server_with_a_key_that_fails_while_it_warms_up_says_why(
    settings: ServeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ANSWERS_VARIABLE, "json:loads")  # it raises for any request
    with pytest.raises(InfrastructureError, match="The server started, but does not work") as caught:
        serve(replace(settings, api_key="sesame"), runs=tmp_path / "runs")
    assert caught.value.why.startswith("TypeError: the JSON object must be str")


def test_a_hidden_base_answers_through_its_variants_alone(settings: ServeSettings, tmp_path: Path) -> None:
    with serve(replace(settings, with_base=False), runs=tmp_path / "runs") as server, server.client() as client:
        assert server.models == ("qa-prompt",) == tuple(model["id"] for model in client.models())
        assert repr(server) == f"<server at {server.base_url}: qa-prompt>"
        assert client.ask("qa-prompt", **QA) == {"answer": "1891"}
        with pytest.raises(RequestRefused, match=r"There is no model 'fake'\. This server has qa-prompt\."):
            client.ask("fake", **QA)


def test_a_mistake_starts_nothing_and_leaves_no_folder(settings: ServeSettings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        serve(replace(settings, artifacts=(tmp_path / "none.json",)), runs=tmp_path / "runs")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InfrastructureError, match="is taken"):
        serve(replace(settings, port=taken.getsockname()[1]), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
