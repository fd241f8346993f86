"""The prompts that speed is measured with: recipes/qa.py, bare and with demos as a search finds them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.endpoint import say
from optimizer.search.sources.given import spread
from promptstill.engine.markers import chat_markers
from promptstill.engine.models import Model, find_model
from promptstill.files import write_json
from promptstill.prompt.artifact import SCHEMA_VERSION
from promptstill.prompt.layouts.bare import bare_prompt
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt
from promptstill.task.open import open_task
from promptstill.task.recipe import Metric
from promptstill.task.splits import Splits

RECIPE = Path(__file__).parents[1] / "recipes" / "qa.py"
DEMOS = 4
SEED = 0


@dataclass(frozen=True)
class QaPrompts:
    """recipes/qa.py with its rows, and three prompts: the recipe's own, one with demos, and what a student gets."""

    model: Model
    splits: Splits
    metric: Metric
    baseline: Prompt
    demos: Prompt
    bare: Prompt


def open_qa() -> QaPrompts:
    """recipes/qa.py with the embedded model."""
    opened = open_task(str(RECIPE), split_seed=SEED)
    recipe = opened.recipe
    model = find_model(recipe.model, say)
    task = replace(opened.task, markers=chat_markers(model))
    return QaPrompts(model, opened.splits, recipe.metric, *build_prompts(task, opened.splits))


def build_prompts(task: Task, splits: Splits) -> tuple[Prompt, Prompt, Prompt]:
    """The baseline prompt, one with demos in raw text, and a student's."""
    instruction = task.signature.instructions
    demos = spread(splits.train, DEMOS, f"{SEED}-shown")
    with_demos = build_prompt(task, "raw", instruction, demos, k=DEMOS)
    return build_prompt(task, "chat", instruction), with_demos, bare_prompt(task)


def write_best(path: Path) -> Path:
    """The prompt with demos as an artifact that `serve` reads."""
    opened = open_qa()
    prompt = opened.demos
    write_json(path, {
        "schema_version": SCHEMA_VERSION, "id": prompt.id, "name": "qa", "shipped": "winner", "scores": {},
        "model": {"name": opened.model.name, "sha256": opened.model.sha256}, "prompt": prompt.model_dump(mode="json"),
    })  # fmt: skip
    return path
