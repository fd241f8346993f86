"""The whole loop on the embedded model: optimize, distill, serve, and one test question to both variants.

    python -m scripts.demo [RECIPE.py]

Each step is the command that a user would type, and is timed. Everything is written into a new folder under runs/.
"""

from __future__ import annotations

import argparse
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

from promptstill.files import create_private
from serving import Client

READY_S = 600  # vLLM with an adapter is ready within a few minutes even on a slow machine
STEP_S = 3600


def main() -> None:
    recipe = parse_recipe()
    folder = Path("runs") / f"demo-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    best, distilled = folder / "best.json", folder / "distilled"
    folder.mkdir(parents=True)
    seconds = {
        "optimize": run_step("optimizer", recipe, "-o", str(best), "--runs", str(folder)),
        "distill": run_step("distill", "--from-prompt", str(best), "-o", str(distilled)),
    }
    start = time.monotonic()
    with running_server(best, distilled, folder / "serve.log") as url:
        seconds["serve, until ready"] = time.monotonic() - start
        ask(url, distilled / "test.jsonl")
    print()
    for name, spent in seconds.items():
        print(f"{name:20} {minutes(spent)}")
    print(f"{'in all':20} {minutes(sum(seconds.values()))}")
    reports = sorted(folder.glob("*/report.html"))
    print("\nlook at  " + "\n         ".join(str(path) for path in reports))
    print(f"go on    serve {best} --adapter {distilled}")


def parse_recipe() -> str:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", nargs="?", default="recipes/qa.py", metavar="RECIPE.py", help="recipes/qa.py if none")
    return str(parser.parse_args().recipe)


def run_step(module: str, *arguments: str) -> float:
    """Run a command to its end, its lines shown as they come; its seconds. Its failure ends this process."""
    argv = [sys.executable, "-m", module, *arguments]
    print(f"\n$ {'optimize' if module == 'optimizer' else module} {' '.join(arguments)}", flush=True)
    start = time.monotonic()
    code = subprocess.run(argv, check=False, timeout=STEP_S).returncode
    if code:
        sys.exit(code)
    return time.monotonic() - start


@contextmanager
def running_server(best: Path, distilled: Path, log_path: Path) -> Iterator[str]:
    """The server's address, once it answers. The server is stopped however the block ends."""
    port = str(free_port())
    print(f"\n$ serve {best} --adapter {distilled} --port {port}", flush=True)
    argv = [sys.executable, "-m", "serving", str(best), "--adapter", str(distilled), "--port", port]
    url = f"http://127.0.0.1:{port}"
    create_private(log_path)
    with log_path.open("w") as log, subprocess.Popen(argv, stdout=log, stderr=log) as server:
        try:
            wait_until_ready(server, url, log_path)
            yield url
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(server: subprocess.Popen[bytes], url: str, log_path: Path) -> None:
    """Wait until every variant is warm. Ends this process where the server does not come up."""
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
    """Ask every variant one test row, and show the replies beside the gold answer."""
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
