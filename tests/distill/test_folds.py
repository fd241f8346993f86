"""Distilling what a cross-validated run found: what is compared, what is shipped, what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill.plan import plan_distillation
from distill.settings import DistillSettings
from promptstill.errors import UserError
from promptstill.prompt.prompt import Prompt
from promptstill.task.examples import Example
from promptstill.task.open import open_task
from tests.support.feel import nearest_prompt


def ids(rows: Sequence[Example]) -> set[str]:
    return {row.id for row in rows}


def stored(path: str = "best.json") -> dict[str, Any]:
    return dict(json.loads(Path(path).read_text()))


def store(artifact: dict[str, Any], path: str = "best.json") -> None:
    Path(path).write_text(json.dumps(artifact))


def refusal(settings: DistillSettings) -> UserError:
    with pytest.raises(UserError) as caught:
        plan_distillation(settings, print)
    return caught.value


def test_the_first_fold_is_test_and_all_rows_train_what_is_shipped(folded: DistillSettings) -> None:
    folds = open_task("feel.py", folds=5).splits.folds
    plan = plan_distillation(folded, print)
    splits = plan.opened.splits
    assert ids(splits.test) == ids(folds[0].test) and ids(splits.dev) == ids(folds[1].test)
    assert ids(splits.train) == ids(plan.rows) == set().union(*(ids(fold.test) for fold in folds[2:]))
    assert not splits.shared and len(splits.test) == len(splits.dev) == 23
    assert plan.final and len(plan.final.rows) == plan.final.labelled == 114
    assert ids(plan.final.rows) == ids(splits.train) | ids(splits.dev) | ids(splits.test)


def test_the_prompt_of_the_first_fold_is_compared_and_the_shipped_one_teaches_last(folded: DistillSettings) -> None:
    plan, made = plan_distillation(folded, print), stored()
    assert plan.best_prompt.id == plan.teacher_prompt.id == made["first_fold"]["id"]
    assert plan.final and plan.final.teacher_prompt.id == made["id"] != made["first_fold"]["id"]
    assert plan.best_prompt.nearest and plan.final.teacher_prompt.nearest
    shown = {str(demo["thing"]) for demo in plan.best_prompt.nearest.pool}
    assert not shown & {row.inputs["thing"] for row in plan.opened.splits.test}


def test_a_baseline_that_is_shipped_is_compared_itself(folded: DistillSettings) -> None:
    store(stored() | {"shipped": "baseline"})
    plan = plan_distillation(folded, print)
    assert plan.final and plan.best_prompt.id == plan.final.teacher_prompt.id == stored()["id"]


def test_unlabelled_rows_are_answered_for_both_students(folded: DistillSettings) -> None:
    Path("more.jsonl").write_text('{"thing": "a glowing coal"}\n{"thing": "an old snowman"}\n')
    plan = plan_distillation(replace(folded, unlabelled="more.jsonl"), print)
    assert len(plan.rows) == 70 and plan.final
    assert len(plan.final.rows) == 116 and plan.final.labelled == 114


def test_without_folds_the_compared_student_is_shipped(settings: DistillSettings) -> None:
    assert plan_distillation(settings, print).final is None


def test_changed_data_is_refused(folded: DistillSettings) -> None:
    made = stored()
    made["splits"]["sha256"]["train"] = "0" * 64
    store(made)
    assert refusal(folded).what == "best.json is of another data than feel.py now has."


def broken(entry: Any) -> None:
    made = stored()
    store({key: value for key, value in made.items() if key != "first_fold"} | ({"first_fold": entry} if entry else {}))


def test_a_broken_first_fold_is_refused(folded: DistillSettings) -> None:
    fold = stored()["first_fold"]
    broken({**fold, "id": "0" * 64})
    assert refusal(folded).what == "first_fold of best.json was changed by hand."
    broken({"id": fold["id"], "prompt": {"layout": "chat"}})
    assert refusal(folded).what == "first_fold of best.json holds no valid prompt."
    broken({"prompt": fold["prompt"]})
    assert refusal(folded).why == "first_fold.id: Field required."
    broken(None)
    assert refusal(folded).what == "best.json has no first_fold."


def test_a_first_fold_of_another_task_is_refused(folded: DistillSettings) -> None:
    prompt = Prompt.model_validate(stored()["first_fold"]["prompt"])
    other = prompt.model_copy(update={"inputs": [prompt.inputs[0].model_copy(update={"name": "other"})]})
    bare = other.model_copy(update={"nearest": None, "user": "{other}"})
    broken({"id": bare.id, "prompt": bare.model_dump(mode="json")})
    assert refusal(folded).what == "first_fold of best.json is a prompt of another task."


@pytest.mark.parametrize("folds", [2, 114])
def test_folds_that_leave_no_rows_are_refused(folds: int, folded: DistillSettings) -> None:
    splits = open_task("feel.py", folds=folds).splits
    made = stored()
    made["splits"] |= {"folds": folds, "sha256": splits.digests()}
    store(made)
    found = refusal(folded)
    assert found.what == f"114 labelled rows in {folds} folds cannot be distilled." and "--folds 5" in found.do


def test_a_teacher_of_another_deal_is_refused_and_one_of_the_same_is_taken_without_the_fold(
    folded: DistillSettings,
) -> None:
    made = stored()
    other = nearest_prompt(open_task("feel.py"), open_task("feel.py").splits.train[:9])
    same = made | {"id": other.id, "prompt": other.model_dump(mode="json")}
    store(same, "large.json")
    settings = replace(folded, teacher="large.json")
    plan = plan_distillation(settings, print)
    assert plan.teacher_prompt.id == made["first_fold"]["id"]
    assert plan.final and plan.final.teacher_prompt.id == other.id
    store(same | {"splits": {**made["splits"], "folds": 0}}, "large.json")
    found = refusal(settings)
    assert found.what == "large.json has its rows dealt otherwise."
    assert found.do == "Search it on the same rows with --folds 5 --split-seed 0."
