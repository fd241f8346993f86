"""From artifacts to a running vLLM: what it serves, with which flags, on which address, behind which key."""

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

from optimizer import engine
from optimizer.engine import Adapters, Engine, Extra
from optimizer.errors import UserError
from optimizer.machine import Machine
from optimizer.models import Model, resolve
from optimizer.startup import Say
from serving.settings import BODY_LIMIT, KEY_VARIABLE, Settings
from serving.variants import RANKS, Served, load

DRAIN_S = 30
MIDDLEWARE = "serving.middleware.Variants"
# What would let a client change the weights, or pause the engine.
CLOSED = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "0", "VLLM_SERVER_DEV_MODE": "0"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks for. `model` None is the artifacts' own."""

    artifacts: tuple[Path, ...]
    adapters: tuple[Path, ...] = ()
    model: str | None = None
    host: str = engine.HOST
    port: int = 8000
    api_key: str | None = None
    insecure: bool = False
    max_concurrency: int | None = None
    max_body: int = BODY_LIMIT
    log_inputs: Path | None = None
    vllm_args: str = ""

    def check(self) -> None:
        """Refuse what would be unsafe, or could not work. Raises `UserError`."""
        key = self.api_key
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key and key):
            raise UserError(
                "That is no usable key.", "A header carries printable ASCII without spaces.", "Choose another."
            )
        try:
            shlex.split(self.vllm_args)
        except ValueError as error:
            raise UserError(f"--vllm-args cannot be read: {error}.", "", "Quote it as a shell would.") from error
        if is_public(self.host) and not key and not self.insecure:
            raise UserError(
                f"{self.host} is open to others, and there is no key.",
                "Whoever reaches the port could use the models.",
                f"Add --api-key KEY (or set {KEY_VARIABLE}), or say --insecure.",
            )


@dataclass(frozen=True)
class Plan:
    """Everything that a start needs."""

    served: Served
    model: Model
    adapters: Adapters | None
    settings: Settings
    options: Options

    def extra(self, access_log: Path | None = None) -> Extra:
        """The middleware's flags and environment; `access_log` None is standard output."""
        log = str(access_log.resolve()) if access_log else None
        environment = replace(self.settings, access_log=log).to_environment() | CLOSED | import_path()
        environment[KEY_VARIABLE] = self.options.api_key or ""
        flags = ("--middleware", MIDDLEWARE, "--shutdown-timeout", str(DRAIN_S), *shlex.split(self.options.vllm_args))
        return Extra(host=self.options.host, flags=flags, environment=environment, grace_s=DRAIN_S)


def plan(options: Options, machine: Machine, say: Say) -> Plan:
    """Read the artifacts, find their model. Raises `UserError`."""
    options.check()
    served = load(options.artifacts, options.adapters)
    recipes = {variant.recipe for variant in served.variants.values()}
    if options.log_inputs and len(recipes) > 1:
        raise UserError(
            f"--log-inputs takes one recipe; these are {', '.join(sorted(recipes))}.",
            "The rows of several in one file could not be read again.",
            "Serve them on two ports.",
        )
    settings = Settings(
        artifacts=tuple(str(path.resolve()) for path in options.artifacts),
        adapters=tuple(str(path.resolve()) for path in options.adapters),
        seeds=bool(machine.gpus),
        keyed=options.api_key is not None,
        max_body=options.max_body,
        max_concurrency=options.max_concurrency,
        log_inputs=str(options.log_inputs.resolve()) if options.log_inputs else None,
    )
    return Plan(served, find_model(served, options.model, say), lora(served), settings, options)


def find_model(served: Served, given: str | None, say: Say) -> Model:
    """The base model, under the name that the artifacts know it by."""
    where = given or str(served.folder or served.base)
    model = resolve(where, say)
    if served.base_sha256 and model.sha256 and served.base_sha256 != model.sha256:
        raise UserError(
            f"{where} has other weights than the artifacts were made with.",
            f"Their hash is {model.sha256[:12]}, not {served.base_sha256[:12]}: the scores would not hold.",
            "Give the right weights with --model FOLDER, or run optimize on these.",
        )
    return replace(model, name=served.base)


def lora(served: Served) -> Adapters | None:
    """The adapters to load, None where there are none."""
    adapters = {variant.served_as: variant.adapter for variant in served.variants.values() if variant.adapter}
    if not adapters:
        return None
    largest = max(adapter.rank for adapter in adapters.values())
    rank = next(rank for rank in RANKS if rank >= largest)
    return Adapters({name: adapter.path for name, adapter in adapters.items()}, rank)


def import_path() -> dict[str, str]:
    """Lets vLLM's process import this package where it is not among the installed ones (a source tree)."""
    root = Path(__file__).resolve().parents[1]
    if root == Path(sysconfig.get_paths()["purelib"]).resolve():
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))}


def is_public(host: str) -> bool:
    """Whether others than this machine reach a server on `host`; a name that is no address counts as open."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


@contextmanager
def running(plan: Plan, runs: Path, say: Say) -> Iterator[Engine]:
    """The server, warm, with its logs in a new folder of `runs`; it finishes what runs when the block ends."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = runs / f"serve-{stamp}-{secrets.token_hex(2)}"
    extra = plan.extra(folder / "access.jsonl")
    with engine.running(
        plan.model, folder / "engine.log", say, port=plan.options.port, adapters=plan.adapters, extra=extra
    ) as started:
        yield started


def printed(plan: Plan, machine: Machine) -> str:
    """The command that `running` would start, for a shell; it takes the key from the environment."""
    argv, environment = engine.command(plan.model, plan.options.port, machine, plan.adapters, plan.extra())
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
