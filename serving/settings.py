"""The settings that `serve` hands to the middleware: one JSON value in an environment variable.

vLLM creates the middleware without arguments, so they cannot be passed in any other way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SETTINGS_VARIABLE = "PROMPTSTILL_SERVE"
KEY_VARIABLE = "VLLM_API_KEY"
BODY_LIMIT = 2**20


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Absolute paths of artifacts (best.json files) and adapters (distilled folders), and the limits.

    `seeds` says whether requests may have a seed. `keyed` says that KEY_VARIABLE must hold a key: a command printed for
    a server with a key never starts one without. `max_body` is in bytes. `access_log` None is standard output.
    """

    artifacts: tuple[str, ...]
    adapters: tuple[str, ...]
    seeds: bool
    keyed: bool
    max_body: int = BODY_LIMIT
    max_concurrency: int | None = None
    access_log: str | None = None
    log_inputs: str | None = None

    def to_environment(self) -> dict[str, str]:
        return {SETTINGS_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ServerSettings:
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
