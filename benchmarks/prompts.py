"""The prompts that speed is measured with: recipes/qa.py, bare and with demos as a search finds them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.endpoint import say
from optimizer.examples import Splits
from optimizer.files import write_json
from optimizer.layouts import Task, bare, build
from optimizer.metrics import Metric
from optimizer.models import Model, markers, resolve
from optimizer.pools import spread
from optimizer.prepare import prepare
from optimizer.prompt import SCHEMA_VERSION, Prompt
from optimizer.settings import Settings

RECIPE = Path(__file__).parents[1] / "recipes" / "qa.py"
DEMOS = 4
SEED = 0


@dataclass(frozen=True)
class Qa:
    """The recipe opened: its rows, and the prompts. `seed` is the recipe's own, `bare` what a student gets."""

    model: Model
    splits: Splits
    metric: Metric
    seed: Prompt
    demos: Prompt
    bare: Prompt


def qa() -> Qa:
    """recipes/qa.py with the embedded model."""
    prepared = prepare(Settings(recipe=str(RECIPE), seed=SEED))
    recipe = prepared.loaded.recipe
    model = resolve(recipe.model, say)
    task = replace(prepared.task, markers=markers(model))
    return Qa(model, prepared.splits, recipe.metric, *prompts(task, prepared.splits))


def prompts(task: Task, splits: Splits) -> tuple[Prompt, Prompt, Prompt]:
    """The seed prompt, one with demos in raw text, and a student's."""
    instruction = task.signature.instructions
    shown = spread(splits.train, DEMOS, f"{SEED}-shown")
    return build(task, "chat", instruction), build(task, "raw", instruction, shown, k=DEMOS), bare(task)


def write_best(path: Path) -> Path:
    """The prompt with demos as an artifact that `serve` reads."""
    opened = qa()
    prompt = opened.demos
    write_json(path, {
        "schema_version": SCHEMA_VERSION, "id": prompt.id, "name": "qa", "shipped": "winner", "scores": {},
        "model": {"name": opened.model.name, "sha256": opened.model.sha256}, "prompt": prompt.model_dump(mode="json"),
    })  # fmt: skip
    return path
