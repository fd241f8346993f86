"""The rivals of an opened recipe on its test rows, or why it has none."""

from __future__ import annotations

from dataclasses import replace

from promptstill.events import Say
from promptstill.scoring.rivals.embedder import Embedder
from promptstill.scoring.rivals.measure import fit_rivals, score_rival
from promptstill.scoring.rivals.report import RivalResult
from promptstill.scoring.rivals.task import RivalTask
from promptstill.task.metrics import is_judge
from promptstill.task.open import OpenTask
from promptstill.text import plural


async def rivals_of(opened: OpenTask, embedder: Embedder | None, say: Say) -> dict[str, RivalResult]:
    """Each rival's results on test by name; empty, and the reason is said, where there can be none.

    Raises as `measure_rivals` and `Embedder.embed` do.
    """
    if reason := why_none(opened):
        say(f"rivals without a model are left out: {reason}")
        return {}
    splits, metric = opened.splits, opened.recipe.metric
    task = RivalTask(splits.train, splits.dev, opened.task.inputs, opened.task.outputs, metric)
    say(f"rivals without a model learn from {plural(len(splits.train), 'train row')}: no call, a few seconds")
    if embedder and not task.labels:
        say("--embeddings is not used: no output is a label")
    elif embedder:
        rows = [*splits.train, *splits.dev, *splits.test]
        task = replace(task, vectors=await embedder.embed(map(task.row_text, rows)))
    return {
        name: RivalResult(score_rival(rival, splits.test, metric), rival.settings)
        for name, rival in fit_rivals(task).items()
    }


def why_none(opened: OpenTask) -> str:
    """Why a recipe has no rivals; empty where it has."""
    if is_judge(opened.recipe.metric):
        return "the metric asks a model for each mark"
    if opened.program is not None:
        return "the recipe is of a program, which declares no types for its outputs"
    return ""
