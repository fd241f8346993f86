"""A small task with Literal labels, and a best.json of it, as optimize would have written one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optimizer.run.artifact import first_fold_record
from optimizer.search.sources.given import demo_pool
from promptstill.engine.models import Model
from promptstill.files import write_json
from promptstill.prompt.artifact import SCHEMA_VERSION
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.parts import NearestDemos
from promptstill.prompt.prompt import Prompt
from promptstill.task.examples import Example
from promptstill.task.open import OpenTask, open_task

RECIPE = '''
from typing import Literal
import dspy
from promptstill import Recipe, exact_match, recipe

class Feel(dspy.Signature):
    """Is the thing hot or cold?"""
    thing: str = dspy.InputField()
    feel: Literal["hot", "cold"] = dspy.OutputField()

@recipe
def feel() -> Recipe:
    hot = "fire lava sun oven stove kettle torch ember furnace steam magma bonfire".split()
    cold = "ice snow frost fridge glacier hail sleet igloo freezer icicle blizzard tundra".split()
    things = [(w, "hot") for w in hot] + [(w, "cold") for w in cold]
    hows = ["the {}", "some {} over there", "a drawing of {}", "my neighbour's {}", "what we call {}"]
    rows = [{"thing": how.format(w), "feel": f} for w, f in things for how in hows]
    return Recipe(signature=Feel, examples=rows, metric=exact_match("feel"), split=(60, 24, 30))
'''


def call_it_hot(body: dict[str, Any]) -> str:
    """A model's answer whatever it is asked: right for half of the things."""
    return " hot"


def write_best_json(folder: Path, model: Model, folds: int = 0) -> None:
    """A best.json of the recipe, with nearest demos, as optimize would have written it; cross-validated in `folds`."""
    (folder / "feel.py").write_text(RECIPE)
    opened = open_task("feel.py", folds=folds)
    prompt = nearest_prompt(opened, opened.splits.train)
    best = {"schema_version": SCHEMA_VERSION, "id": prompt.id, "name": "feel", "recipe": opened.recipe_file.lineage()}
    best |= {"model": {"name": model.name, "sha256": model.sha256}, "search": {"seed": 0}}
    dev = {"winner": {"mean": 0.5, "low": 0.3, "high": 0.7, "n": 24}}
    best |= {"shipped": "winner", "scores": {"dev": dev, "test": None}}
    sizes = {name: len(getattr(opened.splits, name)) for name in ("train", "dev", "test")}
    splits = {"sha256": opened.splits.digests(), **sizes, "seed": opened.splits.seed, "folds": folds}
    if folds:
        best |= first_fold_record(nearest_prompt(opened, opened.splits.folds[0].train))
    write_json(folder / "best.json", {**best, "splits": splits, "prompt": prompt.model_dump(mode="json")})


def nearest_prompt(opened: OpenTask, train: Sequence[Example]) -> Prompt:
    """A prompt with nearest demos from these rows."""
    pool = NearestDemos(("thing",), demo_pool(train))
    return build_prompt(opened.task, "chat", "Is the thing hot or cold?", pool, k=4)
