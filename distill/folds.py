"""A best.json of a cross-validated run: what is compared, and what the shipped student is trained on.

Every row had a part in the prompt that such a run ships, so none could test a student of it. Compared is what came of
the first fold: the prompt that was searched without it, and a student that is trained without it, on the fold's rows.
The second fold is dev; the others are train. The shipped student is then trained in the same way on all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from promptstill.errors import UserError
from promptstill.prompt.prompt import Prompt
from promptstill.shell import command_line
from promptstill.task.examples import Example
from promptstill.task.open import OpenTask
from promptstill.task.splits import Splits

MIN_FOLDS = 3  # test, dev and train
MIN_DEV = 2  # rows: one request is timed alone, others together


@dataclass(frozen=True)
class FinalPlan:
    """What the shipped student of a cross-validated run is trained on: the shipped prompt's answers to all labelled
    rows, then to the unlabelled ones. labelled: the number of labelled rows."""

    teacher_prompt: Prompt
    rows: Sequence[Example]
    labelled: int


def compared_task(opened: OpenTask) -> OpenTask:
    """The task as it is compared: of a cross-validated one test is the first fold and dev the second. Raises
    `UserError` for folds that are too few or too small."""
    splits = opened.splits
    if not splits.folds:
        return opened
    test, dev, *others = (fold.test for fold in splits.folds)
    if len(splits.folds) < MIN_FOLDS or len(dev) < MIN_DEV:
        raise UserError(
            f"{len(splits.test)} labelled rows in {len(splits.folds)} folds cannot be distilled.",
            f"One fold is test and one is dev, of {MIN_DEV} rows or more; the others are trained on.",
            f"Search with other folds: {command_line('optimize', opened.recipe_file.path, '--folds', 5)}",
        )
    train = [row for fold in others for row in fold]
    compared = Splits(train, dev, test, splits.unlabelled, splits.duplicates, seed=splits.seed)
    return replace(opened, splits=compared)


def compared_prompt(artifact: Mapping[str, Any], path: str) -> Prompt:
    """The prompt of a best.json that is compared: of a cross-validated run what it ships, as it was found without the
    first fold. Its own prompt is checked too. Raises `UserError`.

    A baseline that is shipped was not searched, so it is compared itself.
    """
    prompt = Prompt.from_artifact(artifact, path)
    if not artifact["splits"].get("folds"):
        return prompt
    if "first_fold" not in artifact:
        raise UserError(
            f"{path} has no first_fold.",
            "It is of a cross-validated run, and says not which prompt was found without the first fold.",
            "Restore the file, or write it again with optimize.",
        )
    found = Prompt.from_artifact(artifact["first_fold"], f"first_fold of {path}")
    if [field.name for field in found.inputs] != [field.name for field in prompt.inputs]:
        raise UserError(
            f"first_fold of {path} is a prompt of another task.",
            "It has other inputs than the prompt beside it.",
            "Restore the file, or write it again with optimize.",
        )
    return prompt if artifact["shipped"] == "baseline" else found


def refuse_other_deal(teacher: Mapping[str, Any], path: str, artifact: Mapping[str, Any]) -> None:
    """Refuse a teacher whose prompt may have been searched on the rows that test the student. Raises `UserError`."""
    theirs, ours = teacher["splits"], artifact["splits"]
    their_folds, our_folds = theirs.get("folds", 0), ours.get("folds", 0)
    same = their_folds == our_folds and theirs["sha256"] == ours["sha256"]
    if same or not (their_folds or our_folds):
        return
    raise UserError(
        f"{path} has its rows dealt otherwise.",
        "Its prompt may have been searched on the rows that are test here.",
        f"Search it on the same rows with --folds {our_folds} --split-seed {ours['seed']}.",
    )
