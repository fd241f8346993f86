"""Where a run's completions come from: the user's own endpoint, or a vLLM started for the run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from optimizer.client import Endpoint
from optimizer.engine import Adapters, running
from optimizer.files import digest
from optimizer.models import Model, resolve

REMOTE_CONTEXT = 8192


@dataclass(frozen=True)
class Source:
    """What the command line says of the endpoint. `base_url` None starts a vLLM of our own."""

    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    window: int = 64

    def model(self, name: str, say: Callable[[str], None]) -> Model:
        """At a remote endpoint just a name, else weights found or converted. Raises `UserError`."""
        return Model(name, name, None) if self.base_url else resolve(name, say)

    def identity(self, model: Model) -> str:
        """What names the weights that answer: their hash, or else the endpoint and the model's name."""
        return model.sha256 or digest([self.base_url, model.name])


@contextmanager
def answering(
    source: Source, model: Model, log_path: Path, say: Callable[[str], None], *, adapters: Adapters | None = None
) -> Iterator[tuple[Endpoint, int]]:
    """The endpoint to ask, and its context in tokens. The key is read from the environment, and never stored."""
    if source.base_url:
        key, url = os.environ.get(source.api_key_env), source.base_url.rstrip("/")
        yield Endpoint(url, source.identity(model), key, source.api_key_env, source.window), REMOTE_CONTEXT
        return
    with running(model, log_path, say, adapters=adapters) as engine:
        endpoint = Endpoint(
            engine.base_url,
            source.identity(model),
            window=source.window,
            post_mortem=lambda: None if engine.alive() else engine.post_mortem(),
        )
        yield endpoint, engine.max_model_len
