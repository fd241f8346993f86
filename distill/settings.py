"""The settings of a distillation, as the command line gives them and work/settings.json keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from distill.teach.filter import FilterRules
from distill.train.hyper import HyperParameters
from promptstill.endpoint.allowance import JUDGE, Limits
from promptstill.endpoint.hosted import OWN_KEY, is_hosted, locate_model, with_table_prices
from promptstill.engine.source import ModelSource
from promptstill.errors import UserError
from promptstill.scoring.rivals.embedder import Embedder, to_embedder
from promptstill.task.judge import JudgeAt, to_judge


@dataclass(frozen=True, kw_only=True)
class DistillSettings:
    """One distillation's settings.

    from_prompt: the best.json with the prompt to beat. That prompt is the teacher too, unless `teacher` names another
    best.json. `MODEL@URL`, or a provider's model, as the teacher is asked the prompt of `from_prompt`. Its key is that
    of `source` where teacher_key_env names no other.
    judge: `MODEL` or `MODEL@URL` in place of the recipe's judge; its key likewise is that of judge_key_env.
    student: the model to train; by default the one of `from_prompt`.
    recipe: the recipe file, if it has moved since `from_prompt` was written.
    source: the teacher's endpoint, but for `MODEL@URL`. k, temperature: sampled replies per row, besides a greedy one.
    limits: of what the teacher and a judge may cost.
    search: number of trainings to try with different hyper-parameters; 0 trains once, with `hyper`.
    rivals: whether test has rows of what needs no language model. embeddings: `MODEL@URL` for one more of these.
    gold_arm: whether to train a second student on labels, to compare with. merge: whether to write merged weights too.
    """

    from_prompt: str
    teacher: str | None = None
    teacher_key_env: str | None = None
    judge: str | None = None
    judge_key_env: str | None = None
    student: str | None = None
    recipe: str | None = None
    source: ModelSource = field(default_factory=ModelSource)
    unlabelled: str | None = None
    k: int = 4
    temperature: float = 0.8
    rules: FilterRules = field(default_factory=FilterRules)
    drop_leaks: bool = False
    layout: Literal["raw", "chat"] = "raw"
    limits: Limits = field(default_factory=Limits)
    hyper: HyperParameters = field(default_factory=HyperParameters)
    search: int = 0
    gold_arm: bool = True
    rivals: bool = True
    embeddings: str | None = None
    merge: bool = False
    seed: int = 0

    @property
    def teacher_model(self) -> str | None:
        """The teacher's name, where it is a model at an endpoint of its own or at a provider."""
        name, url = self.teacher_at
        return name if url else None

    @property
    def teacher_at(self) -> tuple[str, str | None]:
        """The teacher's name and its address, or a best.json and None."""
        text = self.teacher or ""
        return (text, None) if Path(text).is_file() else locate_model(text)

    @property
    def teacher_file(self) -> str | None:
        """The teacher's best.json, where it is not that of `from_prompt`."""
        return None if self.teacher_model else self.teacher

    @property
    def teacher_source(self) -> ModelSource:
        """Where the teacher is asked."""
        _, url = self.teacher_at
        own = OWN_KEY if is_hosted(url or "") else self.source.api_key_env
        source = replace(self.source, api_key_env=self.teacher_key_env or own)
        return replace(source, base_url=url, vllm_args="", gpu_memory=None) if url else source

    @property
    def judges_at_providers(self) -> dict[str, str]:
        """The judge's name under its role, where a provider serves it."""
        judge = self.judge_at
        return {JUDGE: judge.model} if judge and is_hosted(judge.base_url or "") else {}

    def at_provider(self, name: str) -> DistillSettings:
        """The settings with the provider's address of a teacher's best.json, and the prices that are not given.

        name: of the teacher's model. Raises `UserError` for `--max-usd` without prices.
        """
        source = self.source if self.teacher_model else self.source.of_model(name)
        asked = self.teacher_source.base_url if self.teacher_model else source.base_url
        names = {"": name} if is_hosted(asked or "") else {}
        if asked and not names:
            self.limits.check()  # what the judge's provider costs does not make the teacher's calls free
        return replace(self, source=source, limits=with_table_prices(self.limits, names | self.judges_at_providers))

    @property
    def judge_at(self) -> JudgeAt | None:
        """The judge in place of the recipe's. Raises `UserError`."""
        return to_judge(self.judge, self.judge_key_env, self.source.api_key_env)

    @property
    def asks_best_there(self) -> bool:
        """Whether the prompt to beat, which is the teacher's too, is asked at an endpoint elsewhere."""
        return self.source.base_url is not None and self.teacher is None

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
        return cls(**{**value, **parts, "limits": Limits.from_json(value["limits"]) if "limits" in value else Limits()})

    def is_but_for_limits(self, begun: DistillSettings) -> bool:
        """Whether these are the settings that a distillation began with, limits aside."""
        return replace(self, limits=begun.limits) == begun

    def refuse_changes(self, begun: DistillSettings) -> None:
        """Refuse settings, other than limits, that a distillation did not begin with. Raises `UserError`."""
        if not self.is_but_for_limits(begun):
            raise UserError(
                "A distillation goes on with the settings that it began with; only its limits may change.",
                "",
                "Start a new one in another folder.",
            )
