"""The space: every choice that a candidate can make. It only grows, so a name never changes its meaning.

Demos come from train alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from typing import Any

from optimizer.search.candidate import FIELD, OFF, Candidate, Choices, Params, Reasoning
from promptstill.dialect import VLLM, Dialect
from promptstill.errors import UserError
from promptstill.files import canonical_json
from promptstill.prompt.fields import REASONING
from promptstill.prompt.layouts import OWN, SHOW_PARTIAL_DEMOS, Layout
from promptstill.prompt.layouts.parts import Demo, NearestDemos
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.calibration import NONE, Kind
from promptstill.scoring.calibration.calibrate import Bias
from promptstill.task.examples import Example

NO_DEMOS = "none"
OWN_DEMOS = "own"  # of a predictor that stood where the signature does
FEW_DEMOS = 16  # up to which a first candidate shows them, and as many as there are labels
BYTES_PER_TOKEN = 4
LISTS = ("pool", "sizes", "layouts", "reasonings", "calibrations", "instructions", "refused")  # of a space, in JSON


@dataclass(frozen=True)
class DemoSet:
    """Demos of which the first k are shown or, with `nearest`, the fields by which k are picked from the pool."""

    demos: tuple[Demo, ...] = ()
    nearest: tuple[str, ...] = ()

    @property
    def reasoned(self) -> bool:
        """Whether none of its demos lacks reasoning. What nearest demos are picked from has none."""
        return not self.nearest and all(REASONING in demo for demo in self.demos)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DemoSet:
        return cls(tuple(value["demos"]), tuple(value["nearest"]))


@dataclass(frozen=True)
class Addition:
    """What a source adds to the space. `refused` says why its other proposals are of no use, one reason each.

    origins: for instructions that improve on a candidate, that candidate of each, with which it is tried first. tries:
    candidates with which the demo sets are tried first.
    """

    instructions: tuple[str, ...] = ()
    demo_sets: Mapping[str, DemoSet] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    origins: tuple[Params, ...] = ()
    tries: tuple[Params, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Addition:
        sets = {name: DemoSet.from_json(one) for name, one in value["demo_sets"].items()}
        lists = (tuple(value.get(name, ())) for name in ("refused", "origins", "tries"))
        return cls(tuple(value["instructions"]), sets, *lists)


@dataclass(frozen=True)
class Space:
    """All choices. `pool` serves every nearest set; `sizes` are the numbers of demos to try, of which nearest sets take
    up to `most_nearest`.

    `layouts`, `structured`, `dialect` and `thinking` (the dialects in which a model is told how much to think) are what
    the endpoint could do when the search began, and `reasonings` and `calibrations` what follows for the task; the
    first reasoning is what DSPy sends. The first `given` instructions are the recipe's: the signature's and its own.
    Demos that the model wrote take up to `demo_tokens`. `biases`: of calibrated prompts, by `bias_key`.
    """

    pool: tuple[Demo, ...]
    sizes: tuple[int, ...]
    most_nearest: int
    layouts: tuple[Layout, ...]
    structured: bool
    dialect: Dialect = VLLM
    thinking: Mapping[str, Dialect] = field(default_factory=dict)
    reasonings: tuple[Reasoning, ...] = (OFF,)
    calibrations: tuple[Kind, ...] = (NONE,)
    given: int = 1
    demo_tokens: int = 1_536
    instructions: tuple[str, ...] = ()
    demo_sets: Mapping[str, DemoSet] = field(default_factory=dict)
    biases: Mapping[str, Bias] = field(default_factory=dict)
    refused: tuple[str, ...] = ()

    def grow(self, addition: Addition) -> Space:
        """The space with more choices. What it holds already keeps its name and its place."""
        sets = {name: one for name, one in addition.demo_sets.items() if name not in self.demo_sets}
        return replace(
            self,
            instructions=unique([*self.instructions, *addition.instructions]),
            demo_sets={**self.demo_sets, **sets},
            refused=(*self.refused, *addition.refused),
        )

    def demos(self, name: str) -> tuple[Demo, ...] | NearestDemos:
        """The demos of a set, as a layout takes them."""
        chosen = self.demo_sets[name]
        return NearestDemos(chosen.nearest, self.pool) if chosen.nearest else chosen.demos

    def cut(self, demos: Sequence[Demo]) -> tuple[Demo, ...]:
        """The first of these demos: as many as a fixed set may show, and as fit into its tokens; one at least."""
        sizes = accumulate(demo_bytes(demo) for demo in demos)
        fitting = sum(size <= BYTES_PER_TOKEN * self.demo_tokens for size in sizes)
        return tuple(demos[: min(max(self.sizes), max(fitting, 1))])

    def demo_count(self, name: str, k: int) -> int:
        """The number of demos that `k` means for a set; a predictor's own are shown whole, as it had them."""
        if name == OWN_DEMOS:
            return len(self.demo_sets[name].demos)
        return min(k, self.most_nearest) if self.demo_sets[name].nearest else k

    def can_calibrate(self, candidate: Candidate) -> bool:
        """Whether a candidate has the choice: a prompt of the user's own stays as it is, and what reasons before its
        label has no place where all labels part."""
        return candidate.layout != OWN and candidate.reasoning == OFF

    def allowed(self, candidate: Candidate) -> Candidate:
        """The candidate, without a reasoning field where its demos show no reasoning and its layout cannot say so: what
        the demos leave out, the reply would leave out too. In `raw` no chat template begins thoughts: a model that can
        be told not to think is told so."""
        if not self.can_calibrate(candidate):
            candidate = replace(candidate, calibration=NONE)
        layout = candidate.layout
        if layout == "raw" and OFF in self.thinking:
            return replace(candidate, reasoning=OFF)
        partial = layout not in SHOW_PARTIAL_DEMOS and not self.demo_sets[candidate.demos].reasoned
        unshown = candidate.reasoning == FIELD and partial
        return replace(candidate, reasoning=self.reasonings[0]) if unshown else candidate

    def dialect_of(self, reasoning: Reasoning) -> Dialect:
        """What is sent for a way of reasoning."""
        return self.thinking.get(reasoning, self.dialect)

    @property
    def choices(self) -> Choices:
        """What a candidate chooses from, by dimension; calibration only where there is a choice."""
        calibrations = {"calibration": self.calibrations} if len(self.calibrations) > 1 else {}
        return {
            "layout": self.layouts,
            "demos": list(self.demo_sets),
            "k": self.sizes,
            "instruction": range(len(self.instructions)),
            "reasoning": self.reasonings,
            **calibrations,
        }

    def to_json(self) -> dict[str, Any]:
        spoken = {name: one.model_dump(exclude_defaults=True) for name, one in self.thinking.items()}
        return asdict(self) | {"dialect": self.dialect.model_dump(exclude_defaults=True), "thinking": spoken}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Space:
        """Raises `UserError` for the space of a version that had no choice of reasoning."""
        if "reasonings" not in value:
            raise earlier_version("reasoning")
        dialect = Dialect.model_validate(value.get("dialect", {}))
        thinking = {name: Dialect.model_validate(one) for name, one in value.get("thinking", {}).items()}
        sets = {name: DemoSet.from_json(one) for name, one in value["demo_sets"].items()}
        lists = {name: tuple(value[name]) for name in LISTS if name in value}
        return cls(**{**value, **lists, "demo_sets": sets, "dialect": dialect, "thinking": thinking})


def earlier_version(lacking: str) -> UserError:
    """The error for a study whose candidates lack a choice."""
    return UserError(
        "This search was begun by an earlier version of promptstill.",
        f"Its candidates had no choice of {lacking}, so its trials cannot be gone on with.",
        "Search again: optimize RECIPE.py",
    )


def bias_key(prompt: Prompt, kind: Kind) -> str:
    """By what the space names the bias of a calibrated prompt. prompt: without the bias."""
    return f"{prompt.id} {kind}"


def inherit_bias(space: Space, parent: Prompt, child: Prompt, kind: Kind) -> Space:
    """The space in which a child has its parent's bias, until its own is measured. parent, child: without it."""
    if kind == NONE:
        return space
    return replace(space, biases={**space.biases, bias_key(child, kind): space.biases[bias_key(parent, kind)]})


def unique(instructions: Sequence[str]) -> tuple[str, ...]:
    """The instructions without repetitions and empty ones, in order."""
    return tuple(dict.fromkeys(text.strip() for text in instructions if text.strip()))


def demo_bytes(demo: Demo) -> int:
    """A demo's size in a prompt, nearly."""
    return len(canonical_json(demo).encode())


def to_demo(example: Example, reasoning: str | None = None) -> Demo:
    """An example as a demo, outer white space dropped."""
    fields = {**example.inputs, **({} if reasoning is None else {REASONING: reasoning}), **example.outputs}
    return {name: value.strip() if isinstance(value, str) else value for name, value in fields.items()}
