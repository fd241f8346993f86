"""What every request must satisfy, whatever its route: the key, a JSON body, no field that gets past the prompt.

It stands before vLLM's own checks, and also guards the routes that those leave open (/tokenize, /invocations, …).
"""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any, NoReturn

from serving.asgi import Refusal, Scope, header
from serving.variants import Served, Variant

CHAT = "/v1/chat/completions"
HEALTH = ("/health", "/ping")
METRICS = "/metrics"
OPEN = (*HEALTH, METRICS)
BODILESS = ("GET", "HEAD", "OPTIONS")


def path_of(scope: Scope) -> str:
    """The path as the application's routes know it."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


class Gate:
    """The checks for one server. `key` None lets everyone in; `seeds` says whether a seed may be sent."""

    def __init__(self, served: Served, key: str | None, *, seeds: bool) -> None:
        self.served, self.seeds = served, seeds
        self._digest = hashlib.sha256(key.encode()).digest() if key else None

    def check_key(self, scope: Scope) -> None:
        """Refuse a request without the key; only health, metrics and CORS preflights need none."""
        if self._digest is None or scope["method"] == "OPTIONS" or path_of(scope) in OPEN:
            return
        scheme, _, given = (header(scope, b"authorization") or "").partition(" ")
        # Digests have one length, so that the comparison takes one time.
        same = secrets.compare_digest(hashlib.sha256(given.encode("latin-1")).digest(), self._digest)
        if not (scheme.lower() == "bearer" and same):
            raise Refusal(401, "unauthorized", "Send this server's key: Authorization: Bearer KEY.")

    def check_body(self, path: str, body: dict[str, Any]) -> Variant | None:
        """The variant that a body asks for, or None where it is the base's. Raises `Refusal`."""
        variant = self._named(path, body.get("model"))
        template = body.get("chat_template_kwargs")
        hidden = isinstance(template, dict) and template.get("chat_template") is not None
        if body.get("chat_template") is not None or hidden:
            raise Refusal(400, "invalid", "This server takes no chat_template from a client.", "chat_template")
        sampling = body.get("sampling_params")
        nested = isinstance(sampling, dict) and sampling.get("seed") is not None
        if not self.seeds and (body.get("seed") is not None or nested):
            # A seeded request whose prompt is prefilled in chunks kills vLLM 0.32's CPU worker.
            raise Refusal(400, "invalid", "A server without a GPU takes no seed. Leave seed out.", "seed")
        return variant

    def _named(self, path: str, name: object) -> Variant | None:
        if name is None or name in ("", self.served.base):
            return None
        variant = self.served.variants.get(name) if isinstance(name, str) else None
        if variant is None:
            shown = repr(name)[:80]
            raise Refusal(404, "invalid", f"No model {shown}. This server has {self.served.names}.", "model")
        if path != CHAT:
            raise Refusal(
                400, "invalid", f"{variant.name} answers at {CHAT} only: its prompt is applied there.", "model"
            )
        return variant


def read_json(text: bytes | str) -> Any:
    """The value of a JSON text, read as the engine will read it. Raises `ValueError`; NaN and Infinity are no JSON."""
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def read_object(body: bytes) -> dict[str, Any]:
    """A request's JSON object. Raises `Refusal`."""
    try:
        value = read_json(body)
    except ValueError as error:
        raise Refusal(400, "invalid", f"The request's body is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise Refusal(400, "invalid", "The request's body is no JSON object.")
    return value
