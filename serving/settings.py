"""What a server is set up by: `ServeSettings` by its user, `MiddlewareSettings` by `serve`, for the middleware.

vLLM creates the middleware without arguments, so its settings are one JSON value in an environment variable.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from promptstill.engine.arguments import check_engine
from promptstill.errors import UserError

SETTINGS_VARIABLE = "PROMPTSTILL_SERVE"
KEY_VARIABLE = "VLLM_API_KEY"
BODY_LIMIT = 2**20
CHOICES_LIMIT = 8  # replies to one request
MOST_CHOICES = 128  # the most that --max-n takes


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """What to serve, and how: the options of the command by their names.

    artifacts: best.json files, and folders with a merged student. adapters: folders that distill wrote.
    model: folder or hub id of the base model; None is the model that the artifacts name. with_base: whether clients can
    use it without a prompt.
    port: 0 takes any free one. api_key: the key that clients must send; None asks for none. api_key_file: the file that
    holds it, in a line.
    max_concurrency: requests at once; others are refused (429). max_body: bytes of a request. max_n: replies that one
    request may ask for.
    log_inputs: the JSON-lines file that gets the inputs of all requests. vllm_args: more arguments for vLLM, as a shell
    would read them. gpu_memory: the share of each GPU that it may take; None takes what is needed.
    """

    artifacts: tuple[str | Path, ...] = ()
    adapters: tuple[str | Path, ...] = ()
    model: str | None = None
    with_base: bool = True
    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = field(default=None, repr=False)
    api_key_file: str | Path | None = None
    insecure: bool = False
    max_concurrency: int | None = None
    max_body: int = BODY_LIMIT
    max_n: int = CHOICES_LIMIT
    log_inputs: str | Path | None = None
    vllm_args: str = ""
    gpu_memory: float | None = None

    def check(self) -> None:
        """Refuse settings that are unsafe or cannot work. Raises `UserError`."""
        for name in ("artifacts", "adapters"):
            check_paths(name, getattr(self, name))
        if not 0 <= self.port <= 65_535:
            raise UserError(f"{self.port} is no port.", "Ports are 1 to 65535; 0 takes any free one.", "Choose one.")
        too_few = self.max_concurrency is not None and self.max_concurrency < 1
        if too_few or self.max_body < 1024:
            raise UserError(
                "No request would get through.",
                f"max_concurrency is {self.max_concurrency}, and max_body {self.max_body} bytes.",
                "Allow one request or more, of 1024 bytes or more.",
            )
        if not 1 <= self.max_n <= MOST_CHOICES:
            raise UserError(
                f"max_n is {self.max_n}.",
                "It is how many replies one request may ask for.",
                f"Choose 1 to {MOST_CHOICES}.",
            )
        check_engine(self.vllm_args, self.gpu_memory)
        self._check_key()

    def _check_key(self) -> None:
        key = self.api_key
        if key is not None and self.api_key_file is not None:
            raise UserError("There are two keys.", "Both --api-key and --api-key-file are given.", "Leave one out.")
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key and key):
            raise UserError(
                "The key cannot be used.",
                "A key is sent in a header, which holds printable ASCII without spaces.",
                "Choose another key.",
            )
        if is_public(self.host) and not (key or self.api_key_file or self.insecure):
            raise UserError(
                f"Other machines can reach {self.host}, and no key is set.",
                "Anyone who reaches the port could use the models.",
                f"Add --api-key-file FILE (or set {KEY_VARIABLE}). To go without a key, add --insecure.",
            )


def check_paths(name: str, value: object) -> None:
    """A lone text is a sequence too, of its letters. Raises `UserError` for one."""
    if isinstance(value, str | Path):
        raise UserError(f"{name} is one path, not a tuple of paths.", "", f'Write {name}=("{value}",), with its comma.')


def is_public(host: str) -> bool:
    """Whether other machines can reach a server on `host`. A host name other than localhost counts as public."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


@dataclass(frozen=True, kw_only=True)
class MiddlewareSettings:
    """Absolute paths of artifacts (best.json files) and adapters (distilled folders), and the limits.

    `with_base` says whether clients can use the base model, `seeds` whether requests may have a seed. `keyed` says that
    KEY_VARIABLE must hold a key: a command printed for a server with a key never starts one without. `max_body` is in
    bytes, `max_n` in replies to one request. `access_log` None is standard output.
    """

    artifacts: tuple[str, ...]
    adapters: tuple[str, ...]
    seeds: bool
    keyed: bool
    with_base: bool = True
    max_body: int = BODY_LIMIT
    max_n: int = CHOICES_LIMIT
    max_concurrency: int | None = None
    access_log: str | None = None
    log_inputs: str | None = None

    def to_environment(self) -> dict[str, str]:
        return {SETTINGS_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> MiddlewareSettings:
        """Raises `RuntimeError` where the variable or the key is missing; vLLM then does not start."""
        if SETTINGS_VARIABLE not in environment:
            raise RuntimeError(
                f"{SETTINGS_VARIABLE} is not set: start the server with `serve`, or as `serve --print` shows."
            )
        value: dict[str, Any] = json.loads(environment[SETTINGS_VARIABLE])
        settings = cls(**{**value, "artifacts": tuple(value["artifacts"]), "adapters": tuple(value["adapters"])})
        if settings.keyed and not environment.get(KEY_VARIABLE):
            raise RuntimeError(f"This server was set up with a key: set {KEY_VARIABLE}.")
        return settings
