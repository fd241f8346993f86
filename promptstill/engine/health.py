"""Waits until a vLLM server answers, and explains why one does not, by its log. Starts and stops nothing."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from promptstill.errors import InfrastructureError
from promptstill.events import Say

START_LIMIT_S = 600.0
REPORT_EVERY_S = 30.0
LAST_LINES = 15

# What vLLM prints, what it means, and what to do. The first that is found in the log counts.
KNOWN_FAILURES = (
    ("address already in use", "The port is taken.", "Pick another --port."),
    ("is not a valid model identifier", "The hub has no such model.", "Check the model's name."),
    ("couldn't connect to", "The model hub is out of reach.", "Give a local model folder, or go online."),
    ("are not supported for now", "vLLM does not know this model's architecture.", "Choose another model."),
    ("does not recognize this architecture", "This is no model that vLLM knows.", "Choose another model."),
    ("deserializing header", "The model's weights cannot be read.", "Copy or download the model again."),
    ("No available memory for the cache blocks", "Too little memory is left for the KV cache.", "Free some memory."),
    (
        "Failed to infer device type",
        "vLLM's CUDA build is installed, and finds no GPU.",
        "Look at `nvidia-smi` and CUDA_VISIBLE_DEVICES, or install the other: make ACCELERATOR=cpu",
    ),
    ("out of memory", "There is not enough memory.", "Free some memory, or choose a smaller model."),
    ("less than desired GPU memory", "Another process holds GPU memory.", "Free it, or choose another GPU."),
)


@dataclass(frozen=True)
class StartingServer:
    """A server that does not answer yet: where it will, its process, and its log, from byte `offset` on.

    It gives the reason of a failure only to requests with its key.
    """

    base_url: str
    process: subprocess.Popen[bytes]
    log_path: Path
    offset: int
    api_key: str = field(default="", repr=False)

    def wait_until_healthy(self, say: Say) -> None:
        """Return once /health answers 200. Raises `InfrastructureError` when the server ends, fails or is too slow."""
        began = time.monotonic()
        reported = 0.0
        say(f"starting vLLM (usually 30-65 s on a CPU; log: {self.log_path})")
        while not self._healthy():
            waited = time.monotonic() - began
            if self.process.poll() is not None:
                raise self.failure(f"vLLM ended while starting (exit code {self.process.returncode}).")
            if waited > START_LIMIT_S:
                raise self.failure(f"vLLM did not answer within {START_LIMIT_S:.0f} s.")
            if waited - reported >= REPORT_EVERY_S:
                reported += REPORT_EVERY_S
                say(f"still loading, {waited:.0f} s so far")
            time.sleep(0.25)
        say(f"vLLM is ready after {time.monotonic() - began:.0f} s")

    def failure(self, what: str) -> InfrastructureError:
        """The error for a server that did not start, with the cause that its log gives."""
        with self.log_path.open("rb") as file:
            file.seek(self.offset)
            why, do = find_cause(file.read().decode(errors="replace"))
        return InfrastructureError(what, f"{why}\n{log_tail(self.log_path)}", do)

    def _healthy(self) -> bool:
        try:
            get_local(f"{self.base_url}/health", self.api_key)
        except urllib.error.HTTPError as error:
            why = permanent_failure(error.read())
            if why:
                raise InfrastructureError(
                    "The server started, but does not work.", f"{why}\n{log_tail(self.log_path)}", "Read the log."
                ) from error
            return False
        except OSError:
            return False
        return True


def permanent_failure(body: bytes) -> str | None:
    """Why a server will never be healthy, by the body of its /health; None while it may still become so.

    The server of `serve` says so in the key `failed`; the body of vLLM's own 503 is empty.
    """
    try:
        health = json.loads(body)
    except ValueError:
        return None
    return str(health["failed"]) if isinstance(health, dict) and health.get("failed") else None


def find_cause(log: str) -> tuple[str, str]:
    """Why the server did not start, and what to do; the first error in the log where that is no known failure."""
    for words, why, do in KNOWN_FAILURES:
        if words.lower() in log.lower():
            return why, do
    # The first error is the cause; vLLM's later ones only refer to it.
    error = re.search(r"\w+(?:Error|Exception): .+", log)
    return (error.group() if error else "It gave no reason."), "Read the log; its last lines are above."


def log_tail(log_path: Path) -> str:
    """The path and the last lines of a log, for messages."""
    try:
        with log_path.open("rb") as file:
            file.seek(max(0, log_path.stat().st_size - 64_000))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError as error:
        lines = [f"(no log: {error})"]
    return "\n".join([f"log: {log_path}", *[line for line in lines if line.strip()][-LAST_LINES:]])


def get_local(url: str, api_key: str = "") -> bytes:
    """The body at a URL on this machine. Raises `OSError` (`urllib.error.HTTPError` for a status of failure)."""
    # Without the user's HTTP proxy, which does not reach this machine's own addresses.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    with opener.open(urllib.request.Request(url, headers=headers), timeout=5) as reply:
        return bytes(reply.read())
