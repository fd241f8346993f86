"""The settings of a distillation, as the command line gives them and work/settings.json keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from distill.teach.filter import FilterRules
from distill.train.hyper import HyperParameters
from promptstill.engine.source import ModelSource
from promptstill.scoring.rivals.embedder import Embedder, to_embedder


@dataclass(frozen=True, kw_only=True)
class DistillSettings:
    """One distillation's settings.

    from_prompt: the best.json with the prompt to beat. That prompt is the teacher too, unless `teacher` names another.
    student: the model to train; by default the one of `from_prompt`.
    recipe: the recipe file, if it has moved since `from_prompt` was written.
    source: the teacher's endpoint. k, temperature: sampled replies per row, besides a greedy one.
    search: number of trainings to try with different hyper-parameters; 0 trains once, with `hyper`.
    rivals: whether test has rows of what needs no language model. embeddings: `MODEL@URL` for one more of these.
    gold_arm: whether to train a second student on labels, to compare with. merge: whether to write merged weights too.
    """

    from_prompt: str
    teacher: str | None = None
    student: str | None = None
    recipe: str | None = None
    source: ModelSource = field(default_factory=ModelSource)
    unlabelled: str | None = None
    k: int = 4
    temperature: float = 0.8
    rules: FilterRules = field(default_factory=FilterRules)
    drop_leaks: bool = False
    layout: Literal["raw", "chat"] = "raw"
    hyper: HyperParameters = field(default_factory=HyperParameters)
    search: int = 0
    gold_arm: bool = True
    rivals: bool = True
    embeddings: str | None = None
    merge: bool = False
    seed: int = 0

    @property
    def embedder(self) -> Embedder | None:
        """Who embeds the inputs for a rival; None for nobody. Raises `UserError`."""
        return to_embedder(self.embeddings, self.source.api_key_env) if self.rivals and self.embeddings else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DistillSettings:
        targets = value["hyper"]["targets"]
        hyper = HyperParameters(
            **{**value["hyper"], "targets": targets if isinstance(targets, str) else tuple(targets)}
        )
        parts = {"source": ModelSource(**value["source"]), "rules": FilterRules(**value["rules"]), "hyper": hyper}
        return cls(**{**value, **parts})
