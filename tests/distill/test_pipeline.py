"""The steps of `distill`: what is trained on, the warning about a far test score, and who pays the filter's judge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill.folder import DistilledFolder
from distill.pipeline import Steps, dev_gap_warning
from distill.plan import plan_distillation
from distill.result import TrainedStudent
from distill.settings import DistillSettings
from distill.teach.dataset import to_training_rows
from distill.teach.filter import from_labels
from distill.training import STUDENT, StudentTraining
from distill.verdict.adapter_check import AdapterCheck
from promptstill import Judge
from promptstill.endpoint.endpoint import Endpoint
from promptstill.engine.source import ModelSource
from promptstill.errors import UserError
from promptstill.events import Event, Message, silent
from promptstill.stats import Estimate
from tests.serving.fake_vllm import ANSWERS_VARIABLE
from tests.support import tiny
from tests.support.fake import FakeEndpoint

STUDENTS = ("student + bare prompt", "gold-label student")


def test_rows_that_the_engine_cannot_serve_are_not_trained_on(settings: DistillSettings) -> None:
    plan, said = plan_distillation(settings, print), list[Event]()
    rows, _ = to_training_rows(from_labels(plan.rows), plan.student_prompt)
    steps = StudentTraining(plan, settings, DistilledFolder(Path("distilled")), said.append)
    lengths = sorted(row.length for row in steps.make_job(STUDENT, rows, 256, settings.hyper).rows)
    limit = lengths[len(lengths) // 2]
    fitting = [length for length in lengths if length <= limit]
    assert len(lengths) == len(rows) > len(fitting) and not said
    assert sorted(row.length for row in steps.make_job(STUDENT, rows, limit, settings.hyper).rows) == fitting
    assert f"{len(rows) - len(fitting)} training rows are longer than {limit} tokens" in str(said)
    with pytest.raises(UserError, match="No training row fits the student's context"):
        StudentTraining(plan, settings, DistilledFolder(Path("distilled")), silent).make_job(
            STUDENT, rows, 3, settings.hyper
        )


def test_a_student_far_below_its_dev_score_is_pointed_out() -> None:
    warning = dev_gap_warning("qa-student", Estimate(0.527, 0.466, 0.589, 186), [0.726, 0.791])
    assert warning and warning.startswith("qa-student: 79.1 on dev in training, but 52.7 on test by the engine.")
    assert dev_gap_warning("qa-student", Estimate(0.733, 0.67, 0.79, 186), [0.791]) is None


def test_the_judge_that_the_filter_asks_is_counted_and_told(
    settings: DistillSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTSTILL_CACHE", str(tmp_path / "cache"))
    heard: list[str] = []

    def listener(event: Event) -> None:
        heard.extend([event.text] if isinstance(event, Message) else [])

    with FakeEndpoint(lambda body: " hot", model="tiny") as teacher, FakeEndpoint(lambda body: "Score: 0") as other:
        judge = Judge(other.base_url, other.model)

        def mark(example: Any, prediction: Any) -> float:
            return judge.mark(f"Is {example.thing} {prediction.feel}?")

        mark.judge = True  # type: ignore[attr-defined]  # functions may have attributes; their type has none
        settings = replace(settings, source=ModelSource(base_url=teacher.base_url), k=1)
        plan = plan_distillation(settings, print).with_metric(mark)
        with pytest.raises(UserError, match="No training row survives"):
            Steps(plan, settings, DistilledFolder.create(Path("distilled"), settings), listener).run()
        judge.close()
    assert other.calls.total() == len(plan.rows)
    assert heard[-1].startswith(f"besides, {len(plan.rows)} calls of the judge, ")


class Unchecked(Steps):
    """The steps against a server that has no weights, so that no adapter can be checked there."""

    def check_adapter(self, name: str, student: TrainedStudent, endpoint: Endpoint) -> AdapterCheck:
        del student, endpoint
        return AdapterCheck("live", len(name), 0.0, 1.0, 1.0, 0.1)


@pytest.mark.usefixtures("fake_vllm")
def test_a_cross_validated_prompt_is_compared_on_a_fold_and_a_student_of_all_rows_is_shipped(
    folded: DistillSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ANSWERS_VARIABLE, "tests.support.feel:call_it_hot")
    settings = replace(folded, k=0, hyper=replace(tiny.HYPER, epochs=2))
    plan, folder = plan_distillation(settings, print), DistilledFolder.create(Path("distilled"), settings)
    said: list[str] = []

    def listener(event: Event) -> None:
        said.extend([event.text] if isinstance(event, Message) else [])

    done = Unchecked(plan, settings, folder, listener).run()
    assert done.final and done.shipped is done.final.trained and done.shipped.sha256 != done.student.sha256
    assert done.shipped.hyper == done.student.hyper
    assert done.shipped.training.epoch == len(done.shipped.training.losses) == done.student.training.epoch
    assert set(done.verdict.arms) == {*("base + bare prompt", "base + best prompt"), *STUDENTS}
    assert {arm.score.n for arm in done.verdict.arms.values()} == {len(plan.opened.splits.test)} == {23}
    assert done.verdict.final and done.verdict.final.labelled_rows == 114
    data = done.teacher_data
    tested = {row.id for row in plan.opened.splits.test}
    assert not tested & {row.example.id for row in data.rows}
    assert data.final and tested & {row.example.id for row in data.final.rows}
    assert sum("starting vLLM" in line for line in said) == 2, "one for all answers, one for all students"
    said.clear()
    again = Unchecked(plan, settings, folder, listener).run()
    assert again.teacher_data == data and again.shipped.sha256 == done.shipped.sha256
    assert not any("asking the teacher" in line for line in said)
