"""A candidate: one choice of each dimension of the search, in names and numbers that any Optuna storage holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from promptstill.prompt.layouts import Layout
from promptstill.scoring.calibration import NONE, Kind

Params = dict[str, str | int]  # a candidate as Optuna has it
Choices = Mapping[str, Sequence[str | int]]  # what each dimension may be
Reasoning = Literal["off", "field", "model", "short", "long"]
OFF: Reasoning = "off"
FIELD: Reasoning = "field"
MODEL: Reasoning = "model"
SHORT: Reasoning = "short"
LONG: Reasoning = "long"


@dataclass(frozen=True)
class Candidate:
    """What a prompt is made of, by the names that the space gives them.

    demos: the name of a demo set. k: how many of its demos are shown. instruction: its place in the space. reasoning:
    `off`; `field`, an output in which the model reasons before it answers, as `dspy.ChainOfThought` has it; `model`,
    what a model that thinks does by itself; or `short` or `long`, what it is told to do. calibration: how much of the
    prompt's bias for some labels is taken back.
    """

    layout: Layout
    demos: str
    k: int
    instruction: int
    reasoning: Reasoning = OFF
    calibration: Kind = NONE

    @property
    def uncalibrated(self) -> Candidate:
        return replace(self, calibration=NONE)

    def to_params(self) -> Params:
        """The scalar form, for files."""
        return asdict(self)

    def chosen(self, choices: Choices) -> Params:
        """The scalar form of what there is a choice of, for Optuna."""
        return {name: value for name, value in self.to_params().items() if name in choices}

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Candidate:
        k, instruction, calibration = int(params["k"]), int(params["instruction"]), params.get("calibration", NONE)
        return cls(str(params["layout"]), str(params["demos"]), k, instruction, params["reasoning"], calibration)
