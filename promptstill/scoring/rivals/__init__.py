"""Rivals: what answers a task without a language model. One file a rival, and the table of them.

A rival learns from train and chooses its settings on dev, or inside train where both are the same rows. It costs no
call and takes seconds. A new one is a module with a function `fit(task) -> FittedRival | None` (None where the task
gives it nothing to learn), a line in `RIVALS`, and its words in report.py.

task.py holds what a rival learns from, kinds.py which outputs are labels, labels.py what both classifiers share,
embedder.py asks for embeddings, measure.py scores rows, of_recipe.py those of a recipe, report.py compares and words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from promptstill.scoring.rivals import bag_of_words, embeddings, majority, nearest
from promptstill.scoring.rivals.task import FittedRival, RivalTask

RIVALS: Mapping[str, Callable[[RivalTask], FittedRival | None]] = {
    "majority": majority.fit,
    "nearest": nearest.fit,
    "bag_of_words": bag_of_words.fit,
    "embeddings": embeddings.fit,
}
