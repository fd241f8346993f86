"""Where a run's completions come from: the user's endpoint, a provider, or a vLLM that is started for the run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from promptstill.endpoint.endpoint import PATIENCE_S, Endpoint
from promptstill.endpoint.hosted import find_hosted, hosted_key, is_hosted, require_access, secrets
from promptstill.engine.arguments import recorded_arguments
from promptstill.engine.machine import this_machine
from promptstill.engine.models import Model, find_model
from promptstill.engine.vllm import Adapters, ServerOptions, running_engine
from promptstill.errors import UserError
from promptstill.events import Say
from promptstill.files import digest

REMOTE_CONTEXT = 8192  # tokens: what is assumed of a remote endpoint, which does not tell


@dataclass(frozen=True)
class ModelSource:
    """The endpoint that the command line names; without a `base_url` a vLLM is started.

    base_url: also litellm://PROVIDER, where a provider answers through LiteLLM. api_key_env: the environment variable
    with the key. window: the most requests in flight, to each copy of the model where several answer. patience: seconds
    without any answer, after which the run gives up. vllm_args: more arguments for that vLLM, as a shell would read
    them. gpu_memory: the share of each GPU that it may take; None takes what is needed.
    """

    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    window: int = 64
    patience: float = PATIENCE_S
    vllm_args: str = ""
    gpu_memory: float | None = None

    @property
    def here(self) -> ModelSource:
        """The vLLM of our own, where `base_url` names another's endpoint."""
        return replace(self, base_url=None)

    def endpoint(self, identity: str) -> Endpoint:
        """The user's endpoint, with the key from its environment variable. identity: of the weights that answer."""
        if self.base_url is None:
            raise ValueError("a vLLM of our own has an endpoint only once it is started")
        url, name, hidden = self.base_url.rstrip("/"), self.api_key_env, tuple[str, ...]()
        key = os.environ.get(name)
        if is_hosted(url):
            (key, name), hidden = hosted_key(url, name), secrets()
        return Endpoint(url, identity, key, name, self.window, patience_s=self.patience, secrets=hidden)

    def of_model(self, name: str) -> ModelSource:
        """The source of a model: its provider where the name is of one, unless an endpoint or a folder is named.

        Raises `UserError` for a model that is not for chats, and for what only a vLLM of our own takes.
        """
        hosted = None if self.base_url or Path(name).expanduser().is_dir() else find_hosted(name)
        if hosted and (self.vllm_args or self.gpu_memory):
            raise UserError(
                "--vllm-args and --gpu-memory are for a vLLM that is started here.",
                f"{name} is asked at its provider.",
                "Leave them out.",
            )
        return replace(self, base_url=hosted.url) if hosted else self

    def as_recorded(self, model: Mapping[str, Any], where: str) -> ModelSource:
        """The source with the arguments for vLLM that a best.json records, where the user gives none.

        model: the entry of that file, which `where` names. Raises `UserError` for arguments that may load code.
        """
        text = model.get("vllm_args")
        if self.base_url or self.vllm_args or not text:
            return self
        return replace(self, vllm_args=recorded_arguments(str(text), where))

    def find_model(self, name: str, say: Say) -> Model:
        """The model called `name`: at a remote endpoint just its name, else its weights. Raises `UserError`."""
        return Model(name, name, None) if self.base_url else find_model(name, say)

    def identity(self, model: Model) -> str:
        """What identifies the weights that answer: their hash, or else the endpoint and the model's name."""
        return model.sha256 or digest([self.base_url, model.name])


@contextmanager
def open_endpoint(
    source: ModelSource,
    model: Model,
    log_path: Path,
    say: Say,
    *,
    adapters: Adapters | None = None,
    thoughts: bool = True,
) -> Iterator[tuple[Endpoint, int]]:
    """The endpoint to ask, and its context in tokens. The key is read from the environment and never stored.

    thoughts: see `ServerOptions`; never with adapters.
    """
    if source.base_url:
        hosted = find_hosted(model.name) if is_hosted(source.base_url) else None
        if hosted:
            require_access(model.name, hosted.url, source.api_key_env)
        yield source.endpoint(source.identity(model)), (hosted and hosted.context) or REMOTE_CONTEXT
        return
    options = ServerOptions(
        vllm_args=source.vllm_args,
        gpu_memory=source.gpu_memory,
        window=source.window,
        thoughts=thoughts and adapters is None,
    )
    with running_engine(model, log_path, say, adapters=adapters, options=options) as engine:
        endpoint = Endpoint(
            engine.base_url,
            source.identity(model),
            window=source.window * engine.copies,
            first_window=source.window * engine.copies,
            patience_s=source.patience,
            exit_report=lambda: None if engine.alive() else engine.log_tail(),
            slow=not this_machine().gpus,
        )
        yield endpoint, engine.max_model_len
