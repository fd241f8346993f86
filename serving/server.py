"""Plans and starts the vLLM server: which artifacts, flags, address and key it gets."""

from __future__ import annotations

import ipaddress
import os
import secrets
import shlex
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from promptstill.engine import vllm
from promptstill.engine.machine import Machine
from promptstill.engine.models import Model, find_model
from promptstill.engine.vllm import Adapters, Engine, ServerOptions
from promptstill.errors import UserError
from promptstill.events import Say
from serving.settings import BODY_LIMIT, KEY_VARIABLE, ServerSettings
from serving.variants import LORA_RANKS, ServedModels, load_variants

DRAIN_S = 30
MIDDLEWARE = "serving.middleware.Variants"
# Switched on, they would let a client change the weights or pause the engine.
SWITCHED_OFF = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "0", "VLLM_SERVER_DEV_MODE": "0"}


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """The options of the command line. `model` None is the model that the artifacts name."""

    artifacts: tuple[Path, ...]
    adapters: tuple[Path, ...] = ()
    model: str | None = None
    host: str = vllm.HOST
    port: int = 8000
    api_key: str | None = None
    insecure: bool = False
    max_concurrency: int | None = None
    max_body: int = BODY_LIMIT
    log_inputs: Path | None = None
    vllm_args: str = ""

    def check(self) -> None:
        """Refuse options that are unsafe or cannot work. Raises `UserError`."""
        key = self.api_key
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key and key):
            raise UserError(
                "The key cannot be used.",
                "A key is sent in a header, which holds printable ASCII without spaces.",
                "Choose another key.",
            )
        try:
            shlex.split(self.vllm_args)
        except ValueError as error:
            raise UserError(f"--vllm-args cannot be read: {error}.", "", "Quote it as in a shell.") from error
        if is_public(self.host) and not key and not self.insecure:
            raise UserError(
                f"Other machines can reach {self.host}, and no key is set.",
                "Anyone who reaches the port could use the models.",
                f"Add --api-key KEY (or set {KEY_VARIABLE}). To go without a key, add --insecure.",
            )


@dataclass(frozen=True)
class ServePlan:
    """All that is needed to start the server."""

    served: ServedModels
    model: Model
    adapters: Adapters | None
    settings: ServerSettings
    options: ServeOptions

    def vllm_options(self, access_log: Path | None = None) -> ServerOptions:
        """vLLM's flags and environment for the middleware. `access_log` None is standard output."""
        log = str(access_log.resolve()) if access_log else None
        environment = replace(self.settings, access_log=log).to_environment() | SWITCHED_OFF | import_path()
        environment[KEY_VARIABLE] = self.options.api_key or ""
        flags = ("--middleware", MIDDLEWARE, "--shutdown-timeout", str(DRAIN_S), *shlex.split(self.options.vllm_args))
        return ServerOptions(host=self.options.host, flags=flags, environment=environment, grace_s=DRAIN_S)


def plan_server(options: ServeOptions, machine: Machine, say: Say) -> ServePlan:
    """Read the artifacts and find their model. Raises `UserError`."""
    options.check()
    served = load_variants(options.artifacts, options.adapters)
    recipes = {variant.recipe for variant in served.variants.values()}
    if options.log_inputs and len(recipes) > 1:
        raise UserError(
            f"--log-inputs works for one recipe only; these artifacts have {', '.join(sorted(recipes))}.",
            "A file with rows of several recipes fits none of them.",
            "Serve each recipe on a port of its own.",
        )
    settings = ServerSettings(
        artifacts=tuple(str(path.resolve()) for path in options.artifacts),
        adapters=tuple(str(path.resolve()) for path in options.adapters),
        seeds=bool(machine.gpus),
        keyed=options.api_key is not None,
        max_body=options.max_body,
        max_concurrency=options.max_concurrency,
        log_inputs=str(options.log_inputs.resolve()) if options.log_inputs else None,
    )
    return ServePlan(served, find_base_model(served, options.model, say), find_adapters(served), settings, options)


def find_base_model(served: ServedModels, wanted: str | None, say: Say) -> Model:
    """The base model, under the name that the artifacts have for it. `wanted` is the value of --model."""
    where = wanted or str(served.folder or served.base)
    model = find_model(where, say)
    if served.base_sha256 and model.sha256 and served.base_sha256 != model.sha256:
        raise UserError(
            f"{where} has other weights than the artifacts were made with.",
            f"Their hash is {model.sha256[:12]}, not {served.base_sha256[:12]}, so the scores do not apply to them.",
            "Give the right weights with --model FOLDER, or run optimize on these.",
        )
    return replace(model, name=served.base)


def find_adapters(served: ServedModels) -> Adapters | None:
    """The adapters that vLLM must load; None where there are none."""
    adapters = {variant.engine_name: variant.adapter for variant in served.variants.values() if variant.adapter}
    if not adapters:
        return None
    largest = max(adapter.rank for adapter in adapters.values())
    rank = next(rank for rank in LORA_RANKS if rank >= largest)
    return Adapters({name: adapter.path for name, adapter in adapters.items()}, rank)


def import_path() -> dict[str, str]:
    """The variable that lets vLLM's process import this package from a source tree; none where it is installed."""
    root = Path(__file__).resolve().parents[1]
    if root == Path(sysconfig.get_paths()["purelib"]).resolve():
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))}


def is_public(host: str) -> bool:
    """Whether other machines can reach a server on `host`. A host name other than localhost counts as public."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


@contextmanager
def running_server(plan: ServePlan, runs: Path, say: Say) -> Iterator[Engine]:
    """The server, warmed up, with its logs in a new folder of `runs`. At the end of the block it is stopped.

    Requests that still run then get DRAIN_S seconds to finish.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = runs / f"serve-{stamp}-{secrets.token_hex(2)}"
    options = plan.vllm_options(folder / "access.jsonl")
    with vllm.running_engine(
        plan.model, folder / "engine.log", say, port=plan.options.port, adapters=plan.adapters, options=options
    ) as engine:
        yield engine


def shell_command(plan: ServePlan, machine: Machine) -> str:
    """The command that `running_server` starts, for a shell. It takes the key from the environment."""
    argv, environment = vllm.server_command(plan.model, plan.options.port, machine, plan.adapters, plan.vllm_options())
    variables = [f"{name}={shlex.quote(value)}" for name, value in environment.items() if name != KEY_VARIABLE]
    key = f'{KEY_VARIABLE}="${{{KEY_VARIABLE}:?}}"' if plan.settings.keyed else f"{KEY_VARIABLE}="
    words = [shlex.quote(word) for word in argv]
    lines: list[str] = []
    for word in words:
        if word.startswith("--") or not lines:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return " \\\n  ".join([f"env {key}", *variables, *lines])
