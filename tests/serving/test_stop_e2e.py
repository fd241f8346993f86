"""`serve` on the real engine: how it ends. Each test here stops a server of its own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from promptstill.engine.models import Model
from tests.support import artifacts
from tests.support.server import STORY, Server, finish, running_requests, start
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def story_server(tmp_path: Path, embedded: Model) -> Iterator[Server]:
    """A server of one prompt, whose replies are long."""
    path = artifacts.write_best(tmp_path / "story.json", "story", artifacts.story_prompt(), embedded.sha256)
    server = start(tmp_path, str(path))
    yield server
    finish(server)


def is_refused(server: Server) -> bool:
    """Whether the server takes no new request: it does not listen, or hangs up."""
    try:
        server.get("/health")
    except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
        return True
    return False


def test_sigterm_lets_running_requests_finish(story_server: Server) -> None:
    processes = story_server.child_processes()
    with ThreadPoolExecutor() as pool:
        # Long enough that the first has not ended where the last arrives seconds later, short of what a stop waits for.
        requests = [pool.submit(story_server.ask, "story-prompt", STORY, max_tokens=200) for _ in range(3)]
        assert eventually(lambda: running_requests(story_server) == 3)
        story_server.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: is_refused(story_server), 3)
        assert not any(request.done() for request in requests)
        replies = [request.result(60) for request in requests]
    assert {reply.json()["choices"][0]["finish_reason"] for reply in replies} <= {"length", "stop"}
    assert story_server.process.wait(60) == 0
    assert not [process for process in processes if process.is_running()]


def test_a_killed_engine_ends_in_503_and_exit_code_1(story_server: Server) -> None:
    processes = story_server.child_processes()
    core = next(process for process in processes if "EngineCore" in " ".join(process.cmdline()))
    with ThreadPoolExecutor(8) as pool:
        requests = [pool.submit(story_server.ask, "story-prompt", STORY) for _ in range(8)]
        assert eventually(lambda: running_requests(story_server) == 8)
        core.kill()
        replies = [request.result(60) for request in requests]
    assert [reply.status_code for reply in replies] == [503] * 8
    assert "engine behind this server has died" in replies[0].json()["error"]["message"]
    assert story_server.process.wait(60) == 1
    stderr = (story_server.folder / "stderr.log").read_text()
    assert "error: vLLM has ended by itself." in stderr and "engine.log" in stderr
    assert not [process for process in processes if process.is_running()]
