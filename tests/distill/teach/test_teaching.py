"""The first half of a distillation, with a fake teacher."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill.folder import DistilledFolder
from distill.plan import plan_distillation
from distill.settings import DistillSettings
from distill.teach.teaching import TeacherSession, load_final_data, load_teacher_data
from promptstill.dialect import Dialect
from promptstill.endpoint.allowance import Allowance, Limits
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.stores import open_calls
from promptstill.engine.models import Model
from promptstill.engine.source import ModelSource, open_endpoint
from promptstill.errors import UserError
from promptstill.events import Event, silent
from tests.serving.fake_vllm import ANSWERS_VARIABLE, FITTING_CONTEXT
from tests.serving.upstream import REPORTED_CONTEXT
from tests.support.fake import FakeEndpoint
from tests.support.feel import call_it_hot
from tests.support.providers.hosted import Claude, Gemini, HostedEndpoint
from tests.support.providers.openai import OpenAIReasoning


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


@pytest.mark.usefixtures("fake_vllm")
def test_a_teacher_at_an_endpoint_of_its_own_is_asked_the_prompt_in_its_dialect(
    settings: DistillSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ANSWERS_VARIABLE, "tests.support.feel:call_it_hot")
    monkeypatch.setenv("BIG", "secret-1")
    said: list[Event] = []
    with OpenAIReasoning(lambda body: "hot", model="large", key="secret-1") as fake:
        settings = replace(settings, teacher=f"large@{fake.base_url}", teacher_key_env="BIG", k=1)
        plan = plan_distillation(settings, print)
        folder = DistilledFolder.create(Path("distilled"), settings)
        with closing(open_calls(folder.calls_url)) as store:
            allowance = Allowance(Limits(calls=2 * len(plan.rows) + 9))
            data = TeacherSession(plan, settings, folder, said.append, store, allowance).run()
            asked, here = fake.calls.total(), store.totals()["here"].calls
            (folder.work_dir / "teacher.json").unlink()
            again = TeacherSession(plan, settings, folder, silent, store, Allowance()).run()
    assert fake.calls.total() == asked and again.dataset_sha256 == data.dataset_sha256, "no stored call is repeated"
    answered = [body for body in fake.bodies if "drawing" in str(body["messages"][-1])]
    assert answered and all(body["model"] == "large" for body in fake.bodies)
    for body in answered:
        assert body.keys() == {"model", "messages", "max_completion_tokens"}
    assert data.calls == 2 * len(plan.rows) - 1, "the short request that is taken is the first row's own"
    assert len(data.rows) == 30, "right for half of the rows"
    assert data.prompt_id not in (plan.teacher_prompt.id, plan.best_prompt.id)
    assert any(
        "large is asked the prompt without a grammar, with max_completion_tokens" in str(event) for event in said
    )
    assert here == 2 * len(plan.opened.splits.test) and not {"here", "test"} & allowance.spent.keys()
    assert set(data.arms) == {"bare", "best"} and data.context == REPORTED_CONTEXT, "both are asked on this machine"


@pytest.mark.usefixtures("fake_vllm")
def test_a_prompt_that_thinks_and_the_bare_one_have_an_engine_each(
    settings: DistillSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ANSWERS_VARIABLE, "tests.support.feel:call_it_hot")
    engines: list[bool] = []

    def open_noted(*at: Any, thoughts: bool = True) -> Any:
        engines.append(thoughts)
        return open_endpoint(*at, thoughts=thoughts)

    monkeypatch.setattr("distill.teach.teaching.open_endpoint", open_noted)
    with FakeEndpoint(lambda body: "hot", model="large") as fake:
        settings = replace(settings, teacher=f"large@{fake.base_url}", k=0)
        plan = plan_distillation(settings, print)
        decoding = plan.best_prompt.decoding.model_copy(update={"dialect": Dialect(thinking_tokens=2048)})
        thinking = {"decoding": decoding, "model": plan.student_model.name}
        plan = replace(plan, best_prompt=plan.best_prompt.model_copy(update=thinking))
        folder = DistilledFolder.create(Path("distilled"), settings)
        with closing(open_calls(folder.calls_url)) as store:
            data = TeacherSession(plan, settings, folder, silent, store, Allowance()).run()
    assert engines[1:] == [True, False], "after the teacher's: with a parser of thoughts, and without"
    assert set(data.arms) == {"bare", "best"}


@pytest.mark.parametrize("make", [Claude, Gemini])
def test_a_provider_teaches_at_the_prices_of_its_table(
    make: type[HostedEndpoint], settings: DistillSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make(lambda body: "hot") as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        settings = replace(settings, teacher=fake.name, k=2).at_provider(fake.name)
        plan = plan_distillation(settings, print)
        folder, allowance = DistilledFolder.create(Path("distilled"), settings), Allowance(settings.limits)
        with closing(open_calls(folder.calls_url)) as store:
            session = TeacherSession(plan, settings, folder, silent, store, allowance)
            with open_endpoint(settings.teacher_source, plan.teacher_model, Path(), print) as (endpoint, _):
                dataset = session.teach(endpoint, plan.teacher_prompt, plan.rows, folder.path)
    assert len(dataset.rows) == 30 and allowance.spent["teacher"].calls == 3 * len(plan.rows) - 1
    assert allowance.usd_by_role["teacher"] > 0 and plan.teacher_model.name == fake.name


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
    stored = dataset.final_data
    assert stored.prompt_id == plan.final.teacher_prompt.id
    assert load_final_data(folder, plan, stored.to_json()) == stored
    assert stored.rejected == {"scored too low": 114 - len(stored.rows)} and len(stored.rows) > 50
    (folder.final_dir / "dataset.jsonl").write_text("")
    with pytest.raises(UserError, match="was changed"):
        load_final_data(folder, plan, stored.to_json())
