"""The contest's tasks: the same rows for everyone, in files that each contestant's process reads.

The recipe loader makes the splits once, with seed 0, and they are written row by row: the search's own seed must not
change them. Our own command searches with a file whose test holds one row; test is scored elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from promptstill.errors import ReplyError
from promptstill.files import write_jsonl
from promptstill.prompt.layouts.grammar import MARKER_TOKENS
from promptstill.prompt.layouts.task import Task
from promptstill.task.examples import Example
from promptstill.task.load import load_recipe
from promptstill.task.metrics import apply_metric
from promptstill.task.open import OpenTask, open_task
from promptstill.task.recipe import SPLITS
from promptstill.task.splits import split_examples

ROOT = Path(__file__).parents[2]
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
    def why_skipped(self) -> str | None:
        """Why it cannot be run here, or None."""
        missing = [path for path in (self.recipe, self.data) if path and not path.is_file()]
        return f"{self.name}: skipped, {missing[0].name} is not here" if missing else None


TREC = ROOT / "benchmarks/contest/trec.py"
TASKS = (
    BenchTask("trec", TREC, SHARED / "trec-train-3000.jsonl", (200, 100, 200), (60, 40, 32)),
    BenchTask("tickets", ROOT / "recipes/tickets.py", None, (200, 100, 200), (80, 50, 80)),
)


@dataclass(frozen=True)
class TaskFiles:
    """A task's rows in `folder`: all of them for peers and the scorer, and those that our own command may see."""

    task: str
    recipe: Path
    folder: Path

    @property
    def rows_path(self) -> Path:
        return self.folder / "rows.jsonl"

    @property
    def deal(self) -> str:
        """A short digest of all rows and their splits."""
        return hashlib.sha256(self.rows_path.read_bytes()).hexdigest()[:8]

    @property
    def search_path(self) -> Path:
        return self.folder / "search.jsonl"

    def open(self, model: str) -> OpenTask:
        """The recipe with these rows, as `optimize` itself opens it."""
        data = {"data": str(self.rows_path)}
        return open_task(str(self.recipe), parameters=data, model=model, split_seed=SPLIT_SEED)


def write_task_files(task: BenchTask, sizes: Sizes, folder: Path) -> TaskFiles:
    """Split the task's rows by these sizes, and write them."""
    loaded = load_recipe(str(task.recipe), {"data": str(task.data)} if task.data else {})
    recipe = replace(loaded.recipe, split=sizes)
    bare = Task(recipe.signature, recipe.model, 1)
    splits = split_examples(recipe, bare.inputs, bare.outputs, SPLIT_SEED)
    rows = [{**ex.row, "split": name} for name in SPLITS for ex in getattr(splits, name)[: sizes[SPLITS.index(name)]]]
    first = next(row for row in rows if row["split"] == "test")
    files = TaskFiles(task.name, task.recipe, folder)
    write_jsonl(files.rows_path, rows)
    write_jsonl(files.search_path, [*(row for row in rows if row["split"] != "test"), first])
    return files


@dataclass(frozen=True)
class RowScore:
    """One row's score; `unparsed` where the contestant's reply held no answer of the task's type."""

    score: float
    unparsed: bool


def score_answer(opened: OpenTask, example: Example, answer: Mapping[str, Any] | None) -> RowScore:
    """The one scorer for all: the answer's values as the signature's types, then the recipe's metric."""
    if answer is None:
        return RowScore(0.0, True)
    try:
        outputs = {field.name: field.accept(to_json_value(answer.get(field.name))) for field in opened.task.outputs}
    except ReplyError:
        return RowScore(0.0, True)
    return RowScore(apply_metric(opened.recipe.metric, example, outputs).score, False)


def to_json_value(value: Any) -> Any:
    """A typed value as JSON holds it."""
    return json.loads(json.dumps(value, default=lambda v: v.isoformat() if isinstance(v, date) else str(v)))


def reply_tokens(task: Task) -> int:
    """The longest reply that a DSPy contestant may give: what our own DSPy layouts get."""
    return task.max_tokens + MARKER_TOKENS * (len(task.outputs) + 1)
