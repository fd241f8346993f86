"""What is measured, on which models, and what it may cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from promptstill.endpoint.allowance import Limits
from promptstill.endpoint.endpoint import PATIENCE_S
from promptstill.endpoint.url import split_model
from promptstill.engine.models import Model
from promptstill.engine.source import ModelSource
from promptstill.events import Say
from promptstill.scoring.rivals.embedder import Embedder, to_embedder
from promptstill.task.judge import JudgeAt, to_judge


@dataclass(frozen=True)
class ModelAt:
    """A model by the text that names it, and where it is asked."""

    label: str
    name: str
    source: ModelSource

    def find(self, say: Say) -> Model:
        """The model itself; see `ModelSource.find_model`."""
        return self.source.find_model(self.name, say)


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """One measurement's settings.

    files: each a best.json, a prompt of the user's own or a compiled DSPy program; none measures the recipe's
    `baseline`. models: `MODEL` or `MODEL@URL`; none is the recipe's. split_seed: of the deal of rows; None takes that
    of the first best.json, or else 0. judge, rivals, embeddings: as in `SearchSettings`.
    """

    recipe: str
    files: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    judge: str | None = None
    judge_key_env: str | None = None
    split_seed: int | None = None
    window: int = 64
    patience: float = PATIENCE_S
    vllm_args: str = ""
    gpu_memory: float | None = None
    rivals: bool = True
    embeddings: str | None = None
    limits: Limits = field(default_factory=Limits)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def judge_at(self) -> JudgeAt | None:
        """The judge in place of the recipe's. Raises `UserError`."""
        return to_judge(self.judge, self.judge_key_env, self.api_key_env)

    @property
    def embedder(self) -> Embedder | None:
        """Who embeds the inputs for a rival; None for nobody. Raises `UserError`."""
        return to_embedder(self.embeddings, self.api_key_env) if self.rivals and self.embeddings else None

    def models_at(self, default: str) -> list[ModelAt]:
        """The models to ask, each with its endpoint."""
        return [self._model_at(text) for text in dict.fromkeys(self.models or (default,))]

    def _model_at(self, text: str) -> ModelAt:
        name, url = split_model(text)
        asking = (url or self.base_url, self.api_key_env, self.window, self.patience)
        source = ModelSource(*asking, self.vllm_args, self.gpu_memory)
        return ModelAt(text, name, source.of_model(name))
