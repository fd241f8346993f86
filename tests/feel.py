"""A small task with Literal labels, and a best.json of it, as optimize would have written one."""

from __future__ import annotations

from pathlib import Path

from optimizer.files import write_json
from optimizer.layouts import NearestDemos, build
from optimizer.models import Model
from optimizer.pools import demo_pool
from optimizer.prepare import prepare
from optimizer.run import lineage
from optimizer.settings import Settings

RECIPE = '''
from typing import Literal
import dspy
from optimizer import Recipe, exact_match, recipe

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


def best_json(folder: Path, model: Model) -> Path:
    """A best.json of the recipe: nearest demos, as optimize would have found."""
    (folder / "feel.py").write_text(RECIPE)
    prepared = prepare(Settings(recipe="feel.py"))
    pool = NearestDemos(("thing",), demo_pool(prepared.splits.train))
    prompt = build(prepared.task, "chat", "Is the thing hot or cold?", pool, k=4)
    made = {"schema_version": 1, "id": prompt.id, "name": "feel", "recipe": lineage(prepared.loaded)}
    made |= {"model": {"name": model.name, "sha256": model.sha256}, "search": {"seed": 0}}
    sizes = {name: len(getattr(prepared.splits, name)) for name in ("train", "dev", "test")}
    splits = {"sha256": prepared.splits.digests(), **sizes}
    write_json(folder / "best.json", {**made, "splits": splits, "prompt": prompt.model_dump(mode="json")})
    return folder / "best.json"
