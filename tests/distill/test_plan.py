"""What distill refuses before a model is asked, with the literal messages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from distill.plan import plan_distillation
from distill.settings import DistillSettings
from promptstill.engine.source import ModelSource
from promptstill.errors import UserError
from promptstill.task.open import open_task


def refusal(settings: DistillSettings) -> UserError:
    with pytest.raises(UserError) as caught:
        plan_distillation(settings, print)
    return caught.value


def edit(**changes: object) -> None:
    """Change top-level entries of best.json."""
    path = Path("best.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_plan_names_teacher_student_and_rows(settings: DistillSettings) -> None:
    plan = plan_distillation(settings, print)
    assert plan.same_weights and plan.teacher_prompt == plan.best_prompt
    assert len(plan.rows) == 60 and plan.leaks_dropped == 0
    assert plan.student_prompt.messages({"thing": "x"}) == [{"role": "user", "content": "Thing: x\nFeel:"}]
    assert plan.student_prompt.decoding.structured == {"choice": [" hot", " cold"]}


def test_a_changed_recipe_and_changed_data(settings: DistillSettings) -> None:
    path = Path("feel.py")
    path.write_text(path.read_text() + "\n# changed\n")
    assert refusal(settings).what == "best.json is of another recipe than feel.py now has."


def test_a_recipe_that_moved(settings: DistillSettings) -> None:
    Path("feel.py").rename("moved.py")
    found = refusal(settings)
    assert found.what == "The recipe feel.py of best.json is not there." and "--recipe FILE.py" in found.do
    assert plan_distillation(replace(settings, recipe="moved.py"), print).name == "feel"


def test_a_newer_best_json(settings: DistillSettings) -> None:
    edit(schema_version=99)
    assert refusal(settings).what == "best.json has schema_version 99."


def test_a_student_without_weights(settings: DistillSettings) -> None:
    Path("tiny/model.safetensors").unlink()
    found = refusal(settings)
    assert found.what == "tiny has no weights here to train." and "It lacks *.safetensors." in found.why
    assert found.do == "Name the student's model: --student MODEL"


def test_a_quantized_student(settings: DistillSettings) -> None:
    config = Path("tiny/config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": {"quant_method": "awq"}}))
    found = refusal(settings)
    assert found.what == "tiny is quantized (awq): it can answer, but not be trained." and "--student" in found.do


def test_a_teacher_of_another_task(settings: DistillSettings) -> None:
    other = json.loads(Path("best.json").read_text()) | {"name": "other"}
    Path("other.json").write_text(json.dumps(other))
    assert refusal(replace(settings, teacher="other.json")).what == "other.json is a prompt of another recipe, other."


def test_a_model_at_an_endpoint_as_the_teacher(settings: DistillSettings) -> None:
    settings = replace(settings, teacher="org/large@v2@http://127.0.0.1:9/v1", teacher_key_env="BIG")
    plan = plan_distillation(settings, print)
    assert (plan.teacher_model.name, plan.teacher_model.sha256) == ("org/large@v2", None)
    assert plan.teacher_prompt == plan.best_prompt and plan.student_model.name == "tiny" and not plan.same_weights
    source = settings.teacher_source
    assert (source.base_url, source.api_key_env) == ("http://127.0.0.1:9/v1", "BIG") and not settings.source.base_url
    found = refusal(replace(settings, source=ModelSource("http://127.0.0.1:8/v1")))
    assert found.what == "--base-url and --teacher org/large@v2@http://127.0.0.1:9/v1 name two endpoints."


def test_a_judge_of_the_search_must_be_named_and_one_that_nobody_asks_is_refused(settings: DistillSettings) -> None:
    found = refusal(replace(settings, judge="strict@http://127.0.0.1:9/v1"))
    assert found.what == "--judge strict would not be asked." and found.why == "The recipe's metric asks no model."
    edit(judge="strict@http://127.0.0.1:9/v1")
    found = refusal(settings)
    assert found.what == "best.json was searched with the judge strict@http://127.0.0.1:9/v1."


def test_another_student_is_asked_the_prompt_to_beat_under_its_own_name(settings: DistillSettings) -> None:
    Path("tiny").rename("other")
    settings = replace(settings, student="./other", teacher="large@http://127.0.0.1:9/v1")
    plan = plan_distillation(settings, print)
    assert plan.best_prompt.model != plan.base_prompt.model == plan.student_model.name
    assert plan.base_prompt.fixed == plan.best_prompt.fixed


def test_a_target_that_the_model_does_not_have(settings: DistillSettings) -> None:
    found = refusal(replace(settings, hyper=replace(settings.hyper, targets=("q_proj", "nonsense"))))
    assert "nonsense" in found.what + found.why


def test_rows_of_which_too_few_can_be_trained_on(settings: DistillSettings) -> None:
    recipe = Path("feel.py")
    recipe.write_text(recipe.read_text().replace("(60, 24, 30)", "(19, 24, 30)"))
    opened = open_task("feel.py")
    edit(recipe=opened.recipe_file.lineage(), splits={"seed": 0, "sha256": opened.splits.digests()})
    found = refusal(settings)
    assert found.what == "There are 19 rows to train on; a student needs 20."
    assert found.why == "Besides, 24 rows are dev and 30 are test." and "--unlabelled ROWS.jsonl" in found.do
