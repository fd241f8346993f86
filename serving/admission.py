"""Checks that every request must pass, on any route: the key, a JSON body, and no field that replaces the prompt.

They run before vLLM's own checks. They also protect the routes that vLLM leaves open (/tokenize, /invocations, …).
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from promptstill.strict_json import parse_json
from serving.asgi import Refusal, Scope, header
from serving.variants import ServedModels, Variant

CHAT_PATH = "/v1/chat/completions"
HEALTH_PATHS = ("/health", "/ping")
METRICS_PATH = "/metrics"
KEYLESS_PATHS = (*HEALTH_PATHS, METRICS_PATH)
CHOICE_FIELDS = ("n", "best_of")  # how many replies one request asks for
BODILESS_METHODS = ("GET", "HEAD", "OPTIONS")


def request_path(scope: Scope) -> str:
    """The path as the application's routes know it, without the root path of a proxy."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


class Admission:
    """The checks of one server.

    With `key` None everyone may use it. seeds: whether a request may have a seed. max_n: the most replies that one
    request may ask for.
    """

    def __init__(self, served: ServedModels, key: str | None, *, seeds: bool, max_n: int) -> None:
        self.served, self.seeds, self.max_n = served, seeds, max_n
        self._key_hash = hashlib.sha256(key.encode()).digest() if key else None

    def check_key(self, scope: Scope) -> None:
        """Refuse a request without the key. Only health, metrics and CORS preflight requests need none."""
        keyless = scope["method"] == "OPTIONS" or request_path(scope) in KEYLESS_PATHS
        if not (keyless or self.has_key(scope)):
            raise Refusal(401, "unauthorized", "The key is missing or wrong. Send it as: Authorization: Bearer KEY.")

    def has_key(self, scope: Scope) -> bool:
        """Whether a request has the key; every one has it where there is none."""
        if self._key_hash is None:
            return True
        scheme, _, key = (header(scope, b"authorization") or "").partition(" ")
        # Hashes all have one length, so the time of the comparison tells nothing about the key.
        same = secrets.compare_digest(hashlib.sha256(key.encode("latin-1")).digest(), self._key_hash)
        return scheme.lower() == "bearer" and same

    def check_body(self, path: str, body: dict[str, Any]) -> Variant | None:
        """The variant that a body names as its model; None for the base model. Raises `Refusal`."""
        variant = self._find_variant(path, body.get("model"))
        if has_value(body, "chat_template") or has_value(body.get("chat_template_kwargs"), "chat_template"):
            raise Refusal(400, "invalid", "A client may not send a chat_template.", "chat_template")
        if not self.seeds and (has_value(body, "seed") or has_value(body.get("sampling_params"), "seed")):
            # A seeded request whose prompt is prefilled in chunks kills vLLM 0.32's CPU worker.
            raise Refusal(400, "invalid", "This server has no GPU and so accepts no seed. Leave seed out.", "seed")
        for fields in (body, body.get("sampling_params")):
            if isinstance(fields, dict):
                self._check_choices(fields)
        return variant

    def _check_choices(self, fields: dict[str, Any]) -> None:
        for key in CHOICE_FIELDS:
            count = fields.get(key)
            # vLLM also takes "9" and 9.0 for a whole number, so whatever is none is refused here.
            if count is not None and not (type(count) is int and count <= self.max_n):
                message = f"{key} must be a whole number of at most {self.max_n}, the limit of this server."
                raise Refusal(400, "invalid", message, key)

    def check_bodiless(self) -> None:
        """Refuse a request that names no model where the base may not answer it. Raises `Refusal`."""
        if not self.served.with_base:
            raise Refusal(400, "invalid", "Send a JSON object that names a model.", "model")

    def _find_variant(self, path: str, name: object) -> Variant | None:
        if self.served.with_base and (name is None or name in ("", self.served.base)):
            return None
        variant = self.served.variants.get(name) if isinstance(name, str) else None
        if variant is None:
            message = f"There is no model {repr(name)[:80]}. This server has {', '.join(self.served.names)}."
            raise Refusal(404, "invalid", message, "model")
        if path != CHAT_PATH:
            message = f"{variant.name} answers at {CHAT_PATH} only, where its prompt is applied."
            raise Refusal(400, "invalid", message, "model")
        return variant


def has_value(value: object, field: str) -> bool:
    """Whether `value` is an object with that field, and the field is not null."""
    return isinstance(value, dict) and value.get(field) is not None


def read_json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a request's body. Raises `Refusal`."""
    try:
        value = parse_json(body)
    except ValueError as error:
        raise Refusal(400, "invalid", f"The request's body is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise Refusal(400, "invalid", "The request's body is not a JSON object.")
    return value
