"""The first half of a distillation, with a fake teacher."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from distill.folder import DistilledFolder
from distill.plan import plan_distillation
from distill.settings import DistillSettings
from distill.teach.teaching import FinalData, TeacherSession, load_final_data, load_teacher_data
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.stores import open_calls
from promptstill.engine.models import Model
from promptstill.engine.source import ModelSource
from promptstill.errors import UserError
from promptstill.events import silent
from tests.serving.fake_vllm import ANSWERS_VARIABLE, FITTING_CONTEXT
from tests.serving.upstream import REPORTED_CONTEXT
from tests.support.fake import FakeEndpoint
from tests.support.feel import call_it_hot


def test_a_teacher_that_is_never_right_is_refused_before_test_is_evaluated(settings: DistillSettings) -> None:
    with FakeEndpoint(lambda body: " warm", model="tiny") as fake:
        settings = replace(settings, source=ModelSource(base_url=fake.base_url))
        plan = plan_distillation(settings, print)
        folder = DistilledFolder.create(Path("distilled"), settings)
        with (
            closing(open_calls(folder.calls_url)) as store,
            pytest.raises(UserError, match="No training row survives"),
        ):
            TeacherSession(plan, settings, folder, silent, store, Allowance()).run()
    asked = {body["messages"][-1]["content"] for body in fake.bodies}
    assert asked == {plan.teacher_prompt.messages(row.inputs)[-1]["content"] for row in plan.rows}, "no row of test"


@pytest.mark.usefixtures("fake_vllm")
@pytest.mark.parametrize(("student", "context"), [("tiny", REPORTED_CONTEXT), ("org/tiny", FITTING_CONTEXT)])
def test_the_context_is_that_of_the_students_engine(
    student: str, context: int, settings: DistillSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ANSWERS_VARIABLE, "tests.support.feel:call_it_hot")
    plan = plan_distillation(settings, print)
    if student != "tiny":  # a model of the hub, whose engine is told `auto`
        prompt = plan.student_prompt.model_copy(update={"model": student})
        plan = replace(plan, student_prompt=prompt, student_model=Model(student, student, None))
    folder = DistilledFolder.create(Path("distilled"), settings)
    with closing(open_calls(folder.calls_url)) as store:
        data = TeacherSession(plan, settings, folder, silent, store, Allowance()).run()
    assert data.context == context and load_teacher_data(folder, plan) == data


def test_what_the_shipped_student_is_trained_on_may_not_be_changed_before_a_resume(folded: DistillSettings) -> None:
    with FakeEndpoint(call_it_hot, model="tiny") as fake:
        settings = replace(folded, source=ModelSource(base_url=fake.base_url), k=0)
        plan = plan_distillation(settings, print)
        folder = DistilledFolder.create(Path("distilled"), settings)
        with closing(open_calls(folder.calls_url)) as store:
            session = TeacherSession(plan, settings, folder, silent, store, Allowance())
            endpoint = Endpoint(fake.base_url, "tiny")
            assert plan.final
            dataset = session.make_final(endpoint, plan.final)
    asked = [body["messages"][-1]["content"] for body in fake.bodies]
    assert len(asked) == len(plan.final.rows) == 114
    stored = FinalData(dataset.rows, dataset.sha256, dataset.min_score, dataset.rejected_counts)
    assert load_final_data(folder, plan, stored.to_json()) == stored
    assert stored.rejected == {"scored too low": 114 - len(stored.rows)} and len(stored.rows) > 50
    (folder.final_dir / "dataset.jsonl").write_text("")
    with pytest.raises(UserError, match="was changed"):
        load_final_data(folder, plan, stored.to_json())
