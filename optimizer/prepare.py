"""Everything before a model is asked: the recipe loaded and checked, its rows split, the run folder opened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from optimizer.errors import UserError
from optimizer.evaluate import apply
from optimizer.examples import Splits, split_examples
from optimizer.fields import as_text
from optimizer.layouts import Task
from optimizer.load import LoadedRecipe, load
from optimizer.models import Model
from optimizer.progress import Watch
from optimizer.run import RunFolder
from optimizer.settings import Settings

LONGEST_REPLY = 512


@dataclass(frozen=True)
class Prepared:
    """A recipe that passed every check that needs no model."""

    loaded: LoadedRecipe
    task: Task
    splits: Splits

    @property
    def name(self) -> str:
        return self.loaded.name


def prepare(settings: Settings) -> Prepared:
    """Load and check the recipe, its rows and its metric; no model is asked. Raises `UserError`."""
    settings.check()
    loaded = load(settings.recipe, settings.parameters)
    recipe = loaded.recipe
    task = Task(recipe.signature, settings.model or recipe.model, recipe.max_tokens or LONGEST_REPLY)
    if not task.inputs or not task.outputs:
        raise UserError(
            f"The signature {recipe.signature.__name__} has no {'input' if not task.inputs else 'output'} field.",
            "",
            "Declare it: answer: str = dspy.OutputField()",
        )
    splits = split_examples(recipe, task.inputs, task.outputs, settings.seed)
    texts = [as_text(value) for example in splits.train for value in example.outputs.values()]
    longest = max(sum(len(as_text(value)) for value in example.outputs.values()) for example in splits.train)
    most = recipe.max_tokens or min(LONGEST_REPLY, 16 + 8 * (longest // 16))
    task = replace(task, max_tokens=most, single_line=not any("\n" in text for text in texts))
    if not getattr(recipe.metric, "judge", False):
        for example in splits.dev:
            apply(recipe.metric, example, example.outputs)
    return Prepared(loaded, task, splits)


def model_for(settings: Settings, prepared: Prepared, watch: Watch) -> Model:
    """The model to ask: at a remote endpoint just a name, else weights found or converted."""
    return settings.source.model(settings.model or prepared.loaded.recipe.model, watch.say)


def open_run(settings: Settings, prepared: Prepared, root: Path, resume: Path | None) -> RunFolder:
    """A new run folder, or the one to go on with, checked to be of this recipe and these rows."""
    if resume is None:
        run = RunFolder.create(prepared.name, root)
        run.begin(prepared.loaded, prepared.splits, settings.to_json())
        return run
    run = RunFolder.open(resume)
    run.refuse_changes(prepared.loaded, prepared.splits)
    return run
