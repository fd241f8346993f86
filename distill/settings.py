"""What the command line asks for, as one value that the work folder keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from distill.hyper import Hyper
from distill.ladder import Rules
from optimizer.endpoints import Source


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One distillation's settings.

    from_prompt: the best.json whose prompt the student is held against, and the teacher unless `teacher` names another.
    student: the model to train; by default the one of `from_prompt`.
    recipe: where the recipe lies, if it has moved since `from_prompt` was written.
    source: the teacher's endpoint. k, temperature: sampled replies a row, beside a greedy one.
    """

    from_prompt: str
    teacher: str | None = None
    student: str | None = None
    recipe: str | None = None
    source: Source = field(default_factory=Source)
    unlabelled: str | None = None
    k: int = 4
    temperature: float = 0.8
    rules: Rules = field(default_factory=Rules)
    drop_leaks: bool = False
    layout: Literal["raw", "chat"] = "raw"
    hyper: Hyper = field(default_factory=Hyper)
    search: int = 0
    gold_arm: bool = True
    merge: bool = False
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Settings:
        targets = value["hyper"]["targets"]
        hyper = Hyper(**{**value["hyper"], "targets": targets if isinstance(targets, str) else tuple(targets)})
        made = {"source": Source(**value["source"]), "rules": Rules(**value["rules"]), "hyper": hyper}
        return cls(**{**value, **made})
