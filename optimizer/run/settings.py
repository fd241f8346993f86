"""What the command line asks for, as one value that run.json keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import inf
from typing import Any, get_args

from optimizer.run.effort import EFFORTS, LIGHT
from optimizer.search.race import MIN_FITTED_BLOCK
from optimizer.search.sources.demo_room import DemoRoom, demo_room
from optimizer.search.sources.source import Only
from promptstill.endpoint.allowance import JUDGE, PROPOSER, Limits
from promptstill.endpoint.endpoint import PATIENCE_S
from promptstill.endpoint.hosted import OWN_KEY, HostedModel, find_hosted, is_hosted, locate_model, with_table_prices
from promptstill.endpoint.url import split_model
from promptstill.engine.arguments import check_engine
from promptstill.engine.models import Model
from promptstill.engine.source import ModelSource
from promptstill.errors import UserError
from promptstill.events import Say
from promptstill.prompt.layouts import Layout
from promptstill.scoring.rivals.embedder import Embedder, to_embedder
from promptstill.task.judge import JudgeAt, judges_at, to_judge
from promptstill.task.metrics.whole import SplitMetric
from promptstill.task.open import OpenTask, open_task

# What a resumed run may have another of.
RESUMABLE = (
    *("base_url", "api_key_env", "proposer_key_env", "judge_key_env", "window", "patience", "gpu_memory"),
    *("trials", "effort", "within", "dspy", "rivals", "embeddings", "limits"),
)


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """One run's settings. `base_url` None starts a vLLM of our own, with `vllm_args` behind our arguments and
    `gpu_memory` as its share of each GPU (None: what is needed).

    trials: candidates to try. effort: of `EFFORTS`; None is light where there is no number of trials either. only: what
    may change.
    within: the points by which the winner may fall short of the best on dev for fewer tokens. max_prompt_tokens: of a
    candidate's prompts in the mean.
    dspy: whether test has a row of DSPy's default. calibrates: whether the bias of prompts for some labels is a choice.
    proposer: `MODEL` at the same endpoint, `MODEL@URL`, or a provider's; None is the model itself, `none` proposes
    nothing. Its key is the model's where proposer_key_env names no other, but for another provider's.
    judge: `MODEL` or `MODEL@URL` in place of the recipe's judge; its key likewise is that of judge_key_env.
    rivals: whether test has rows of what needs no language model. embeddings: `MODEL@URL` for one more of these.
    drop_leaks: whether train rows that nearly equal a dev or test row are left out. folds: of a cross-validation, 0 for
    none; None cross-validates where there are few rows.
    patience: seconds without any answer after which the run gives up.
    draws: how often each row is asked, for an endpoint whose replies are samples.
    seed: of the search's random choices. split_seed: of the random deal of rows into train, dev, test or folds.
    """

    recipe: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    proposer: str | None = None
    proposer_key_env: str | None = None
    judge: str | None = None
    judge_key_env: str | None = None
    proposals: int = 4
    layouts: tuple[Layout, ...] = ()
    trials: int | None = None
    effort: str | None = None
    only: Only = "everything"
    seed: int = 0
    split_seed: int = 0
    window: int = 64
    patience: float = PATIENCE_S
    vllm_args: str = ""
    gpu_memory: float | None = None
    race: bool = True
    calibrates: bool = True
    within: float = 0.0
    max_prompt_tokens: int | None = None
    dspy: bool = True
    rivals: bool = True
    embeddings: str | None = None
    drop_leaks: bool = False
    draws: int = 1
    folds: int | None = None
    storage: str | None = None
    study: str | None = None
    limits: Limits = field(default_factory=Limits)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SearchSettings:
        limits = Limits.from_json(value["limits"])
        return cls(**{**value, "layouts": tuple(value["layouts"]), "limits": limits})

    @property
    def search_calls(self) -> int | None:
        """The calls of one search at most, beside those that read test; None where trials alone end it."""
        return EFFORTS[self.effort_taken] if self.effort_taken else None

    def demo_room(self, context: int, *, slow: bool) -> DemoRoom:
        """The room for demos in a prompt. slow: whether processors read it."""
        most_tokens = self.max_prompt_tokens or inf
        return demo_room(context, slow=slow, usd=self.limits.price[0], most_tokens=most_tokens)

    @property
    def effort_taken(self) -> str | None:
        """The effort that is given; where no number of trials is given either, the least."""
        return self.effort or (LIGHT if self.trials is None else None)

    @property
    def most_trials(self) -> int:
        """The trials of one search at most: where no number is given, as many as its calls pay the first rows of."""
        return (self.search_calls or 0) // MIN_FITTED_BLOCK if self.trials is None else self.trials

    def whole_limits(self, searches: int, held: int) -> Limits:
        """The user's limits, and that of the effort. held: calls that are set aside for test."""
        calls = self.search_calls
        return self.limits if calls is None else replace(self.limits, effort=searches * calls + held)

    @property
    def proposing(self) -> int:
        """The instructions that are asked for."""
        return 0 if self.proposer == "none" or self.only == "demos" else self.proposals

    @property
    def source(self) -> ModelSource:
        asking = (self.base_url, self.api_key_env, self.window, self.patience)
        return ModelSource(*asking, self.vllm_args, self.gpu_memory)

    @property
    def proposer_at(self) -> tuple[str, ModelSource] | None:
        """The proposer's name and endpoint, where it has one of its own."""
        name, url = split_model(self.proposer or "")
        if url is None and (self.base_url is None or is_hosted(self.base_url)):
            name, url = locate_model(name)
        others = is_hosted(url or "") and url != self.source.of_model(self.model or "").base_url
        own = OWN_KEY if others else self.api_key_env
        return (name, ModelSource(url, self.proposer_key_env or own, self.window, self.patience)) if url else None

    def at_provider(self, default: str) -> SearchSettings:
        """The settings with what is known of a provider's models: the address, and the prices that are not given.

        default: the model where none is set. Raises `UserError` for a model that is not for chats, and for `--max-usd`
        without prices.
        """
        names = {role: model.name for role, model in self.hosted_by_role(default).items()}
        base_url = self.source.of_model(self.model or default).base_url
        if base_url and not is_hosted(base_url):
            self.limits.check()  # what another role's provider costs does not make the task's calls free
        return replace(self, base_url=base_url, limits=with_table_prices(self.limits, names))

    def hosted_by_role(self, default: str) -> dict[str, HostedModel]:
        """The models that providers serve, by role; the task's is under an empty name. default: as in `at_provider`."""
        name = self.model or default
        asked = {"": (name, self.source.of_model(name)), **({PROPOSER: at} if (at := self.proposer_at) else {})}
        if judge := self.judge_at:
            asked[JUDGE] = judge.model, ModelSource(judge.base_url)
        found = {role: find_hosted(name) for role, (name, source) in asked.items() if is_hosted(source.base_url or "")}
        return {role: model for role, model in found.items() if model}

    @property
    def judge_at(self) -> JudgeAt | None:
        """The judge in place of the recipe's. Raises `UserError`."""
        return to_judge(self.judge, self.judge_key_env, self.api_key_env)

    @property
    def embedder(self) -> Embedder | None:
        """Who embeds the inputs for a rival; None for nobody. Raises `UserError`."""
        return to_embedder(self.embeddings, self.api_key_env) if self.rivals and self.embeddings else None

    def open_task(self) -> OpenTask:
        """The recipe, loaded and checked. Raises `UserError`."""
        self.check()
        deal: dict[str, Any] = {"split_seed": self.split_seed, "folds": self.folds, "drop_leaks": self.drop_leaks}
        with judges_at(self.judge_at):
            opened = open_task(self.recipe, self.parameters, model=self.model, **deal)
        if self.only != "everything" and opened.own:
            raise UserError(
                f"--{self.only}-only goes not with a prompt that is written whole (baseline=).",
                "It has no part that can be changed alone.",
                "Leave the option out, or the baseline of the recipe.",
            )
        if self.draws > 1 and (opened.program or isinstance(opened.recipe.metric, SplitMetric)):
            what = "the recipe of a program" if opened.program else "a metric of the whole split"
            raise UserError(f"--draws goes not with {what}.", "Its rows are asked once each.", "Leave --draws out.")
        return replace(opened, draws=self.draws)

    def find_model(self, opened: OpenTask, say: Say) -> Model:
        """The model to ask: at a remote endpoint just a name, else weights found or converted."""
        return self.source.find_model(self.model or opened.recipe.model, say)

    def refuse_changes(self, begun: SearchSettings) -> None:
        """Refuse to go on with a run that began with settings that cannot change. Raises `UserError`."""
        names = [one.name for one in fields(self) if getattr(self, one.name) != getattr(begun, one.name)]
        if fixed := [name for name in names if name not in RESUMABLE]:
            raise changed_error(fixed)

    def check(self) -> None:
        """Refuse combinations that cannot work, before anything is done."""
        check_engine(self.vllm_args, self.gpu_memory)
        for name, value, known in (("effort", self.effort, [None, *EFFORTS]), ("only", self.only, get_args(Only))):
            if value not in known:
                way = f"Give one of: {', '.join(filter(None, known))}."
                raise UserError(f"There is no {name} {value!r}.", "", way)
        if self.embeddings:
            to_embedder(self.embeddings, self.api_key_env)


def changed_error(names: list[str]) -> UserError:
    """A resumed run was given another of what it began with."""
    return UserError(
        f"--resume goes on with what the run began with: {', '.join(names)} cannot change.",
        "Its trials would mix two searches.",
        "Leave it out, or start a new run without --resume.",
    )
