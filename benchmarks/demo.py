"""The whole loop on the embedded model: optimize, distill, serve, and one test question to both variants.

    python -m benchmarks.demo [RECIPE.py]

Each step is the command a user would type, and is timed. Everything goes into one new folder under runs/.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import httpx

from serving import Client

READY_S = 600  # vLLM with an adapter is ready within a few minutes even on a slow machine
STEP_S = 3600


def main() -> None:
    recipe = sys.argv[1] if len(sys.argv) > 1 else "recipes/qa.py"
    folder = Path("runs") / f"demo-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    best, distilled = folder / "best.json", folder / "distilled"
    folder.mkdir(parents=True)
    took = {
        "optimize": step("optimizer", recipe, "-o", str(best), "--runs", str(folder)),
        "distill": step("distill", "--from-prompt", str(best), "-o", str(distilled)),
    }
    begun = time.monotonic()
    with serving(best, distilled, folder / "serve.log") as url:
        took["serve, until ready"] = time.monotonic() - begun
        ask(url, distilled / "test.jsonl")
    print()
    for name, seconds in took.items():
        print(f"{name:20} {minutes(seconds)}")
    print(f"{'in all':20} {minutes(sum(took.values()))}")
    runs = sorted(folder.glob("*/report.html"))
    print("\nlook at  " + "\n         ".join(str(path) for path in runs))
    print(f"go on    serve {best} --adapter {distilled}")


def step(module: str, *arguments: str) -> float:
    """Run a command to its end, its lines shown as they come; its seconds. Its failure ends this process."""
    argv = [sys.executable, "-m", module, *arguments]
    print(f"\n$ {'optimize' if module == 'optimizer' else module} {' '.join(arguments)}", flush=True)
    begun = time.monotonic()
    code = subprocess.run(argv, check=False, timeout=STEP_S).returncode
    if code:
        sys.exit(code)
    return time.monotonic() - begun


@contextmanager
def serving(best: Path, distilled: Path, log_path: Path) -> Iterator[str]:
    """The server's address, once it answers; it is told to stop, and waited for, however the block ends."""
    port = str(free_port())
    print(f"\n$ serve {best} --adapter {distilled} --port {port}", flush=True)
    argv = [sys.executable, "-m", "serving", str(best), "--adapter", str(distilled), "--port", port]
    url = f"http://127.0.0.1:{port}"
    with log_path.open("w") as log, subprocess.Popen(argv, stdout=log, stderr=log) as server:
        try:
            wait(server, url, log_path)
            yield url
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait(server: subprocess.Popen[bytes], url: str, log_path: Path) -> None:
    """Until every variant is warm. Ends this process where the server does not come up."""
    deadline = time.monotonic() + READY_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass  # it does not listen yet
        time.sleep(1)
    sys.exit(f"serve did not come up; {log_path} says why")


def ask(url: str, rows_path: Path, out: IO[str] = sys.stdout) -> None:
    """One test row put to every variant, beside its gold answer."""
    row = json.loads(rows_path.read_text(encoding="utf-8").splitlines()[0])
    for name, value in row["inputs"].items():
        print(f"{name}: {value}", file=out)
    print(f"gold: {row['gold']}", file=out)
    with Client(url) as client:
        for name in variants(client.models()):
            print(f"{name}: {client.ask(name, **row['inputs'])}", file=out)


def variants(cards: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names that take a recipe's inputs: all but the base model."""
    return [str(card["id"]) for card in cards if card.get("promptstill", {"kind": "base"})["kind"] != "base"]


def minutes(seconds: float) -> str:
    return f"{int(seconds) // 60:2} min {int(seconds) % 60:2} s"


if __name__ == "__main__":
    main()
