"""The first half of a distillation, with a fake teacher."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from distill.folder import DistilledFolder
from distill.plan import plan_distillation
from distill.settings import DistillSettings
from distill.teach.teaching import TeacherSession
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.stores import open_calls
from promptstill.engine.source import ModelSource
from promptstill.errors import UserError
from promptstill.events import silent
from tests.support.fake import FakeEndpoint


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
