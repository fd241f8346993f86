"""`serve` on the real engine: how it ends."""

from __future__ import annotations

import signal
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from optimizer.models import Model
from tests import artifacts
from tests.server import TALE, Server, finish, running, start
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


def refused(server: Server) -> bool:
    """Whether the server takes no new request: nobody listens, or whoever did hangs up."""
    try:
        server.get("/health")
    except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
        return True
    return False


def test_sigterm_lets_running_requests_finish(server: Server) -> None:
    """After the tests of the other files, since it ends their server."""
    tree = server.tree()

    def tale(pool: ThreadPoolExecutor) -> Future[httpx.Response]:
        return pool.submit(server.ask, "tale-prompt", TALE, max_tokens=60)

    with ThreadPoolExecutor() as pool:
        asked = [tale(pool) for _ in range(3)]
        assert eventually(lambda: running(server) == 3)
        server.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: refused(server), 3)
        assert not any(future.done() for future in asked)
        replies = [future.result(60) for future in asked]
    assert {reply.json()["choices"][0]["finish_reason"] for reply in replies} <= {"length", "stop"}
    assert server.process.wait(60) == 0
    assert not [process for process in tree if process.is_running()]


def test_a_killed_engine_ends_in_503_and_exit_code_1(tmp_path: Path, embedded: Model) -> None:
    path = artifacts.write_best(tmp_path / "tale.json", "tale", artifacts.tale_prompt(), embedded.sha256)
    server = start(tmp_path, str(path))
    try:
        tree = server.tree()
        core = next(process for process in tree if "EngineCore" in " ".join(process.cmdline()))
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(server.ask, "tale-prompt", TALE, max_tokens=2000) for _ in range(8)]
            assert eventually(lambda: running(server) == 8)
            core.kill()
            replies = [future.result(60) for future in asked]
        assert [reply.status_code for reply in replies] == [503] * 8
        assert "engine behind this server has died" in replies[0].json()["error"]["message"]
        assert server.process.wait(60) == 1
        said = (tmp_path / "stderr.log").read_text()
        assert "error: vLLM has ended by itself." in said and "engine.log" in said
        assert not [process for process in tree if process.is_running()]
    finally:
        finish(server)
