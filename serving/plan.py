"""Plans a server: which artifacts, base model, adapters, flags and environment vLLM gets. It starts nothing."""

from __future__ import annotations

import os
import shlex
import stat
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path

from promptstill.engine import vllm
from promptstill.engine.machine import Machine
from promptstill.engine.markers import read_markers
from promptstill.engine.memory import MOST_SEQUENCES
from promptstill.engine.models import Model, find_model
from promptstill.engine.vllm import Adapters, ServerOptions
from promptstill.errors import UserError
from promptstill.events import Say
from promptstill.shell import short_path
from promptstill.text import plural
from serving.settings import KEY_VARIABLE, MiddlewareSettings, ServeSettings
from serving.variants import LORA_RANKS, ServedModels, load_variants

DRAIN_S = 30
MIDDLEWARE = "serving.middleware.Variants"
# Switched on, they would let a client change the weights or pause the engine.
SWITCHED_OFF = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "0", "VLLM_SERVER_DEV_MODE": "0"}


@dataclass(frozen=True)
class ServePlan:
    """All that is needed to start the server."""

    served: ServedModels
    model: Model
    adapters: Adapters | None
    middleware: MiddlewareSettings
    settings: ServeSettings

    def vllm_options(self, access_log: Path | None = None) -> ServerOptions:
        """vLLM's flags and environment for the middleware. `access_log` None is standard output."""
        log = str(access_log.resolve()) if access_log else None
        environment = replace(self.middleware, access_log=log).to_environment() | SWITCHED_OFF | import_path()
        environment[KEY_VARIABLE] = self.settings.api_key or ""
        return ServerOptions(
            host=self.settings.host,
            flags=("--middleware", MIDDLEWARE, "--shutdown-timeout", str(DRAIN_S)),
            vllm_args=self.settings.vllm_args,
            gpu_memory=self.settings.gpu_memory,
            window=self.settings.max_concurrency or MOST_SEQUENCES,
            environment=environment,
            grace_s=DRAIN_S,
            thoughts=self.adapters is None and all(one.prompt.thinks for one in self.served.variants.values()),
        )


def refuse_mixed_thoughts(served: ServedModels) -> None:
    """Refuse a prompt whose thoughts vLLM is to end, beside one that has none: a server has one reasoning parser, which
    that needs, and which takes all of a reply without thoughts for thoughts. Raises `UserError`."""
    prompts = {name: one.prompt for name, one in served.variants.items()}
    ended = [name for name, prompt in prompts.items() if prompt.decoding.dialect.thinking_token_budget is not None]
    others = [name for name, prompt in prompts.items() if not prompt.thinks]
    if ended and others:
        raise UserError(
            f"{ended[0]} thinks, and {others[0]} does not.",
            "Its thoughts are ended by vLLM's reasoning parser, which would take the other's replies for thoughts.",
            "Serve each by a server of its own.",
        )


def plan_server(settings: ServeSettings, machine: Machine, say: Say, *, download: bool = True) -> ServePlan:
    """Read the key and the artifacts, and find their model. The plan's `api_key` is the key, wherever it came from.

    download: whether a model of the hub is brought here. Raises `UserError`.
    """
    settings.check()
    if settings.api_key_file is not None:
        key = read_key(Path(settings.api_key_file), say)
        replace(settings, api_key=key, api_key_file=None).check()
        settings = replace(settings, api_key=key)
    artifacts, adapters = [Path(path) for path in settings.artifacts], [Path(path) for path in settings.adapters]
    served = replace(load_variants(artifacts, adapters), with_base=settings.with_base)
    refuse_mixed_thoughts(served)
    recipes = {variant.recipe for variant in served.variants.values()}
    if settings.log_inputs and len(recipes) > 1:
        raise UserError(
            f"--log-inputs works for one recipe only; these artifacts have {', '.join(sorted(recipes))}.",
            "A file with rows of several recipes fits none of them.",
            "Serve each recipe on a port of its own.",
        )
    middleware = MiddlewareSettings(
        artifacts=tuple(str(path.resolve()) for path in artifacts),
        adapters=tuple(str(path.resolve()) for path in adapters),
        seeds=bool(machine.gpus),
        keyed=settings.api_key is not None,
        with_base=settings.with_base,
        max_body=settings.max_body,
        max_n=settings.max_n,
        max_concurrency=settings.max_concurrency,
        log_inputs=str(Path(settings.log_inputs).resolve()) if settings.log_inputs else None,
    )
    model = find_base_model(served, settings.model, say, download=download)
    warn_of_markers(served, model, say)
    return ServePlan(served, model, find_adapters(served), middleware, settings)


def warn_of_markers(served: ServedModels, model: Model, say: Say) -> None:
    """Tell of variants that leave chat markers of this model whole: made at another endpoint, or by hand."""
    for variant in served.variants.values():
        missing = set(read_markers(model)) - set(variant.prompt.markers)
        if missing:
            say(
                f"{variant.name} leaves {plural(len(missing), 'chat marker')} of {served.base} in inputs as they are "
                f"({min(missing)}, …): clients can write structure. Write its file again with optimize or distill."
            )


def read_key(path: Path, say: Say) -> str:
    """The key in a file of one line. `say` is told where others may read the file. Raises `UserError`."""
    try:
        lines = path.read_text(encoding="utf-8").strip().splitlines()
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UserError(
            f"The key file {path} cannot be read: {reason}.", "", "Name a file that holds the key."
        ) from error
    if len(lines) != 1:
        found = "is empty" if not lines else f"has {len(lines)} lines"
        raise UserError(f"The key file {path} {found}.", "It holds one line, the key.", "Write the key alone into it.")
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        end_that = shlex.join(["chmod", "600", short_path(path)])
        say(f"warning: others on this machine can read the key; to end that: {end_that}")
    return lines[0]


def find_base_model(served: ServedModels, wanted: str | None, say: Say, *, download: bool = True) -> Model:
    """The base model, under the name that the artifacts have for it. `wanted` is the value of --model."""
    where = wanted or str(served.folder or served.base)
    model = find_model(where, say, download=download)
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


def shell_command(plan: ServePlan, machine: Machine) -> str:
    """The command that starts the planned server, for a shell. It takes the key from the environment."""
    # What other programs hold now says nothing of when the command is run.
    machine = replace(machine, gpus=tuple(replace(gpu, free_gib=gpu.memory_gib) for gpu in machine.gpus))
    argv, environment = vllm.server_command(plan.model, plan.settings.port, machine, plan.adapters, plan.vllm_options())
    variables = [f"{name}={shlex.quote(value)}" for name, value in environment.items() if name != KEY_VARIABLE]
    key = f'{KEY_VARIABLE}="${{{KEY_VARIABLE}:?}}"' if plan.middleware.keyed else f"{KEY_VARIABLE}="
    words = [shlex.quote(word) for word in argv]
    lines: list[str] = []
    for word in words:
        if word.startswith("--") or not lines:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return " \\\n  ".join([f"env {key}", *variables, *lines])
