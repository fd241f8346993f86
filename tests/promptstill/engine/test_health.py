"""Waiting for a server, and why one did not start."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptstill.engine import health
from promptstill.errors import InfrastructureError
from tests.support.terminal import say_nothing


@pytest.mark.parametrize(
    ("log", "why"),
    [
        ("Traceback\nOSError: We couldn't connect to 'https://x' to load", "The model hub is out of reach."),
        ("(EngineCore) ERROR TypeError: bad\nRuntimeError: Engine core failed. See above.", "TypeError: bad"),
        ("", "It gave no reason."),
    ],
)
def test_a_failed_start_says_why(tmp_path: Path, log: str, why: str) -> None:
    log_path = tmp_path / "engine.log"
    log_path.write_text(f"OSError: an earlier start\n{log}")
    process = subprocess.Popen(["true"])
    process.wait()
    starting = health.StartingServer("http://127.0.0.1:1", process, log_path, offset=len("OSError: an earlier start\n"))
    error = starting.failure("vLLM ended.")
    assert error.why.splitlines()[:2] == [why, f"log: {log_path}"]


@pytest.mark.parametrize(
    ("body", "why"),
    [(b"", None), (b"{}", None), (b'{"failed": null}', None), (b'{"failed": "no"}', "no"), (b"[1]", None)],
)
def test_a_server_may_say_that_it_will_never_be_healthy(body: bytes, why: str | None) -> None:
    assert health.permanent_failure(body) == why


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers /health with 503, first empty, then with a reason."""

    bodies: Iterator[bytes]

    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()
        self.wfile.write(next(self.bodies))

    def log_message(self, *values: object) -> None:
        """No lines on standard error."""


def test_a_server_that_gives_up_is_waited_for_no_longer(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("the last line\n")
    Answer.bodies = iter([b"", b'{"failed": "no adapter"}'])
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server,
        subprocess.Popen(["sleep", "30"]) as alive,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        starting = health.StartingServer(f"http://127.0.0.1:{server.server_port}", alive, tmp_path / "log", 0)
        with pytest.raises(InfrastructureError) as caught:
            starting.wait_until_healthy(say_nothing)
        server.shutdown()
        alive.kill()
    assert caught.value.why.splitlines() == ["no adapter", f"log: {tmp_path / 'log'}", "the last line"]


def test_a_server_that_ends_is_reported_with_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("RuntimeError: out of memory\n")
    with subprocess.Popen(["false"]) as ended:
        starting = health.StartingServer("http://127.0.0.1:1", ended, tmp_path / "log", 0)
        with pytest.raises(InfrastructureError, match=r"vLLM ended while starting \(exit code 1\)") as caught:
            starting.wait_until_healthy(say_nothing)
    assert caught.value.do == "Free some memory, or choose a smaller model."
