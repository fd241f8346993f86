"""The recipe: what a user writes to state a task. Importing it loads no model and no data, and asks no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from promptstill.prompt.own.read import OwnPrompt
from promptstill.task.rows import resolve_path

Metric = Callable[[Any, Any], object]  # of an example and a prediction; see promptstill/task/metrics/apply.py
SplitName = Literal["train", "dev", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "dev", "test")
RECIPE_ATTRIBUTE = "__promptstill_recipe__"  # set on a function by @recipe
Function = TypeVar("Function", bound=Callable[..., "Recipe"])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A task: its signature, its rows, its metric and the model that does it.

    signature: a `dspy.Signature` class, or its text ("question -> answer"); its docstring is the baseline prompt's
    instruction. A `dspy.Predict` or `dspy.ChainOfThought` is its own baseline, demos included. `from_program` is for
    one predictor of several.
    examples: rows with the signature's fields, and optionally `split`: what `read_csv` or `read_jsonl` returns, other
    mappings, `dspy.Example` objects, a data frame (pandas, polars), or a data set of Hugging Face.
    metric: `f(example, prediction) -> float in [0, 1]`, or `-> (float, text)`, where the text says why.
    model: "smollm2-135m", a local folder, a hub id, or a name that the remote endpoint knows.
    instructions: further instructions to try beside the signature's own.
    group: a field; rows with the same value in it stay in one split.
    split: sizes of train, dev and test, where rows name no split: fractions, or numbers of rows (the rest is not used).
    baseline: the prompt that is in use today, as a file or as an `OwnPrompt`; without one the signature's instruction.
    max_tokens: of the longest reply; by default it follows from the longest output in train.
    max_row_bytes: a row whose inputs are longer is refused before any call.
    """

    signature: Any
    examples: Any  # data frames and data sets have no type in common; promptstill/task/records.py checks them
    metric: Metric
    model: str = "smollm2-135m"
    instructions: Sequence[str] = ()
    baseline: str | Path | OwnPrompt | None = None
    group: str | None = None
    split: tuple[float, float, float] = (0.5, 0.2, 0.3)
    max_tokens: int | None = None
    max_row_bytes: int = 32_768

    @property
    def own_prompt(self) -> OwnPrompt | None:
        """The baseline that the user wrote whole, if any."""
        return self.baseline if isinstance(self.baseline, OwnPrompt) else None

    def __post_init__(self) -> None:
        """The baseline's file is found now, while the recipe's folder is known."""
        if self.baseline is not None:
            own = self.baseline if isinstance(self.baseline, OwnPrompt) else OwnPrompt(self.baseline)
            object.__setattr__(self, "baseline", replace(own, file=resolve_path(own.file)))

    @classmethod
    def from_program(cls, program: Any, *, predictor: str, examples: Any, metric: Metric, **settings: Any) -> Recipe:
        """The search for a better prompt of one predictor of a DSPy program; the others stay as they are.

        program: a `dspy.Module`. predictor: its name in the program, as `named_predictors` has it. examples: rows of
        the whole program, as mappings or `dspy.Example`s: the inputs of its `forward`, and what the metric needs.
        metric: of the program's own output. settings: `Recipe`'s other fields.

        Raises `UserError` for a predictor that the program does not have.
        """
        from promptstill.task.program import program_rows, to_program

        rows = program_rows(examples)
        return cls(signature=to_program(program, predictor, rows), examples=rows, metric=metric, **settings)

    def program_with(self, prompt: Any) -> Any:
        """A copy of the program with `prompt` (a `Prompt`) in place of the predictor, ready for `save`. Raises
        `UserError` where the recipe is of no program, or the prompt cannot be written as a `dspy.Predict`.
        """
        from promptstill.task.program import place_prompt

        return place_prompt(self.signature, prompt)


def recipe(function: Function) -> Function:
    """Mark a function that returns a `Recipe`; its keyword parameters can be set by `-p NAME=VALUE`."""
    setattr(function, RECIPE_ATTRIBUTE, True)
    return function
