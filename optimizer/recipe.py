"""The recipe: what a user writes to state a task. Importing it does no network, model or dataset work."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from optimizer.errors import UserError
from optimizer.metrics import Metric

SplitName = Literal["train", "dev", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "dev", "test")
MARK = "__promptstill_recipe__"
Function = TypeVar("Function", bound=Callable[..., "Recipe"])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A task: its signature, its rows, its metric and the model that does it.

    signature: a `dspy.Signature` class; its docstring is the seed instruction.
    examples: rows as mappings with the signature's fields, and optionally `split`.
    metric: `f(example, prediction) -> float in [0, 1]`.
    model: "smollm2-135m", a local folder, a hub id, or the name a remote endpoint knows.
    instructions: further instructions to try beside the signature's own.
    group: a field; rows that share its value stay in one split.
    split: sizes of train, dev and test where rows name none: fractions, or numbers of rows (the rest stays unused).
    max_tokens: longest reply; by default taken from the longest output in train.
    max_row_bytes: a longer row is refused before any call.
    """

    signature: type[Any]
    examples: Sequence[Mapping[str, Any]]
    metric: Metric
    model: str = "smollm2-135m"
    instructions: Sequence[str] = ()
    group: str | None = None
    split: tuple[float, float, float] = (0.5, 0.2, 0.3)
    max_tokens: int | None = None
    max_row_bytes: int = 32_768


class Row(dict[str, Any]):
    """A row that knows where it stands, for messages."""

    where: str = ""


def recipe(function: Function) -> Function:
    """Mark a function that returns a `Recipe`; its keyword parameters are the recipe's knobs."""
    setattr(function, MARK, True)
    return function


@dataclass(frozen=True)
class _Base:
    """Where relative paths start: the recipe's folder, or the working directory for values given by `-p`."""

    folder: Path
    given: frozenset[str]


_base: ContextVar[_Base | None] = ContextVar("base", default=None)


@contextmanager
def paths_from(folder: Path, given: Sequence[object]) -> Any:
    """While a recipe's function runs, resolve its default paths against `folder`."""
    token = _base.set(_Base(folder, frozenset(str(value) for value in given)))
    try:
        yield
    finally:
        _base.reset(token)


def resolve_path(path: str | Path) -> Path:
    """A path as the recipe means it (see `_Base`)."""
    base = _base.get()
    if base is None or str(path) in base.given:
        return Path(path)
    return base.folder / path


def read_jsonl(path: str | Path) -> list[Mapping[str, Any]]:
    """The rows of a JSON-lines file. Raises `UserError` naming the line that is no JSON object."""
    resolved = resolve_path(path)
    if not resolved.is_file():
        raise UserError(
            f"The data file {resolved} does not exist.",
            "",
            "Give another with: -p data=FILE.jsonl (one JSON object a line).",
        )
    rows: list[Mapping[str, Any]] = []
    with resolved.open(encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    rows.append(_row(line, f"{resolved}, line {number}"))
        except UnicodeDecodeError as error:
            raise UserError(f"{resolved} is not UTF-8 text.", str(error), "Save it as UTF-8.") from error
    if not rows:
        raise UserError(f"The data file {resolved} is empty.", "", "Put one JSON object a line into it.")
    return rows


def _row(line: str, where: str) -> Row:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{where}: not JSON.", str(error), "Write one JSON object a line.") from error
    if not isinstance(value, dict):
        raise UserError(f"{where}: not a JSON object.", "", 'Write {"field": "value", …} on each line.')
    row = Row(value)
    row.where = where
    return row
