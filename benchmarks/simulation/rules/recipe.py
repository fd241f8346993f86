"""The task of a world of rules, as every contestant gets it. Test has one row: the truth is computed, not asked for."""

from __future__ import annotations

from typing import Any, Literal

import dspy

from benchmarks.simulation.rules.endpoint import MODEL
from benchmarks.simulation.rules.world import ROW, TEST_FROM, Row, RulesWorld
from benchmarks.simulation.rules.worlds import WORLDS
from promptstill import Recipe, recipe


class LabelNote(dspy.Signature):
    """Give the label of the note."""

    text: str = dspy.InputField()
    label: Literal["amber", "birch", "coral", "denim", "ebony", "flint"] = dspy.OutputField()


class Metric:
    """Right or wrong, with the world's feedback."""

    __name__ = "label_with_feedback"

    def __init__(self, world: RulesWorld) -> None:
        self.world = world

    def __call__(self, example: Any, prediction: Any) -> tuple[float, str]:
        marked = ROW.match(example.text)
        assert marked
        label = str(getattr(prediction, "label", "")).strip().lower()
        return float(label == example.label), self.world.feedback(int(marked[1]), label)


def to_row(row: Row, split: str) -> dict[str, str]:
    return {"text": row.text, "label": row.label, "split": split}


@recipe
def notes(world: int = 0) -> Recipe:
    found = RulesWorld(WORLDS[world])
    splits = {"train": found.train, "dev": found.dev, "test": found.rows(TEST_FROM, 1)}
    rows = [to_row(row, split) for split, those in splits.items() for row in those]
    return Recipe(signature=LabelNote, examples=rows, metric=Metric(found), model=MODEL)
