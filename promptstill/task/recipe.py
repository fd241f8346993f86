"""The recipe: what a user writes to state a task. Importing it loads no model and no data, and asks no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Metric = Callable[[Any, Any], float]  # of an example and a prediction; from 0 to 1, higher is better
SplitName = Literal["train", "dev", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "dev", "test")
RECIPE_ATTRIBUTE = "__promptstill_recipe__"  # set on a function by @recipe
Function = TypeVar("Function", bound=Callable[..., "Recipe"])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A task: its signature, its rows, its metric and the model that does it.

    signature: a `dspy.Signature` class; its docstring is the baseline prompt's instruction.
    examples: rows with the signature's fields, and optionally `split`: what `read_csv` or `read_jsonl` returns, other
    mappings, `dspy.Example` objects, a data frame (pandas, polars), or a data set of Hugging Face.
    metric: `f(example, prediction) -> float in [0, 1]`.
    model: "smollm2-135m", a local folder, a hub id, or a name that the remote endpoint knows.
    instructions: further instructions to try beside the signature's own.
    group: a field; rows with the same value in it stay in one split.
    split: sizes of train, dev and test, where rows name no split: fractions, or numbers of rows (the rest is not used).
    max_tokens: of the longest reply; by default it follows from the longest output in train.
    max_row_bytes: a row whose inputs are longer is refused before any call.
    """

    signature: type[Any]
    examples: Any  # data frames and data sets have no type in common; promptstill/task/records.py checks them
    metric: Metric
    model: str = "smollm2-135m"
    instructions: Sequence[str] = ()
    group: str | None = None
    split: tuple[float, float, float] = (0.5, 0.2, 0.3)
    max_tokens: int | None = None
    max_row_bytes: int = 32_768


def recipe(function: Function) -> Function:
    """Mark a function that returns a `Recipe`; its keyword parameters can be set by `-p NAME=VALUE`."""
    setattr(function, RECIPE_ATTRIBUTE, True)
    return function
