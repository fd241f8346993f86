"""The contest's tasks: the same rows for everyone, in files that each contestant's process reads anew.

Splits are dealt once by the recipe loader, with seed 0, and written down row by row: the search's own seed must not
change them. A contestant of ours searches with a file whose test holds one row; test is scored elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from optimizer.errors import ReplyError
from optimizer.evaluate import apply
from optimizer.examples import Example, split_examples
from optimizer.files import write_jsonl
from optimizer.layouts import MARKER_TOKENS, Task
from optimizer.load import load
from optimizer.prepare import Prepared, prepare
from optimizer.recipe import SPLITS
from optimizer.settings import Settings

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
SPLIT_SEED = 0
Sizes = tuple[int, int, int]


@dataclass(frozen=True)
class BenchTask:
    """A recipe, the file of its rows (None: the recipe's own), and the rows of train, dev and test."""

    name: str
    recipe: Path
    data: Path | None
    sizes: Sizes
    fast: Sizes

    @property
    def absent(self) -> str | None:
        """Why it cannot be run here, or None."""
        missing = [path for path in (self.recipe, self.data) if path and not path.is_file()]
        return f"{self.name}: skipped, {missing[0].name} is not here" if missing else None


TASKS = (
    BenchTask("trec", ROOT / "benchmarks/trec.py", SHARED / "trec-train-3000.jsonl", (200, 100, 200), (60, 40, 32)),
    BenchTask("squad", ROOT / "recipes/qa.py", SHARED / "squad-3-articles.jsonl", (170, 100, 200), (80, 50, 80)),
    BenchTask("tickets", ROOT / "recipes/tickets.py", None, (200, 100, 200), (80, 50, 80)),
    BenchTask("extract", ROOT / "recipes/extract.py", None, (80, 50, 70), (60, 40, 60)),
)


@dataclass(frozen=True)
class Field:
    """A task whose rows lie in `folder`: all of them for peers and scorer, and those that our own command may see."""

    task: str
    recipe: Path
    folder: Path

    @property
    def rows_path(self) -> Path:
        return self.folder / "rows.jsonl"

    @property
    def search_path(self) -> Path:
        return self.folder / "search.jsonl"

    def prepared(self, model: str) -> Prepared:
        """The recipe over these rows, as `optimize` itself prepares it."""
        data = {"data": str(self.rows_path)}
        return prepare(Settings(recipe=str(self.recipe), parameters=data, model=model, seed=SPLIT_SEED))


def lay_out(task: BenchTask, sizes: Sizes, folder: Path) -> Field:
    """Deal the task's rows into splits of these sizes, and write them."""
    loaded = load(str(task.recipe), {"data": str(task.data)} if task.data else {})
    recipe = replace(loaded.recipe, split=sizes)
    bare = Task(recipe.signature, recipe.model, 1)
    splits = split_examples(recipe, bare.inputs, bare.outputs, SPLIT_SEED)
    rows = [{**ex.row, "split": name} for name in SPLITS for ex in getattr(splits, name)[: sizes[SPLITS.index(name)]]]
    first = next(row for row in rows if row["split"] == "test")
    field = Field(task.name, task.recipe, folder)
    write_jsonl(field.rows_path, rows)
    write_jsonl(field.search_path, [*(row for row in rows if row["split"] != "test"), first])
    return field


@dataclass(frozen=True)
class Marked:
    """One row's score; `unparsed` where the contestant's reply held no answer of the task's type."""

    score: float
    unparsed: bool


def mark(prepared: Prepared, example: Example, answer: Mapping[str, Any] | None) -> Marked:
    """The one scorer for all: the answer's values brought to the signature's types, then the recipe's metric."""
    if answer is None:
        return Marked(0.0, True)
    try:
        outputs = {field.name: field.accept(plain(answer.get(field.name))) for field in prepared.task.outputs}
    except ReplyError:
        return Marked(0.0, True)
    return Marked(apply(prepared.loaded.recipe.metric, example, outputs), False)


def plain(value: Any) -> Any:
    """A typed value as JSON holds it."""
    return json.loads(json.dumps(value, default=lambda v: v.isoformat() if isinstance(v, date) else str(v)))


def reply_tokens(task: Task) -> int:
    """The longest reply that a DSPy contestant may give: what our own DSPy layouts get."""
    return task.max_tokens + MARKER_TOKENS * (len(task.outputs) + 1)
