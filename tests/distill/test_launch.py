"""What a distillation refuses before it asks anybody anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from distill import distill
from distill.folder import DistilledFolder
from distill.settings import DistillSettings
from promptstill.engine.source import ModelSource
from promptstill.errors import UserError
from tests.support.fake import FakeEndpoint


def test_a_teacher_that_its_endpoint_does_not_serve_and_a_wrong_key(settings: DistillSettings) -> None:
    with FakeEndpoint(model="large", key="right") as fake:
        refused = replace(settings, teacher=f"large@{fake.base_url}", teacher_key_env="BIG_KEY")
        with pytest.raises(UserError, match="export BIG_KEY="):
            distill(refused, output="new")
    with FakeEndpoint(model="large") as fake, pytest.raises(UserError, match="does not serve largo"):
        distill(replace(settings, teacher=f"largo@{fake.base_url}"), output="new")
    assert not fake.bodies and not Path("new").exists()


@pytest.mark.parametrize("resumed", [False, True])
def test_a_search_in_several_processes_is_refused_before_the_teacher_is_asked(
    resumed: bool, settings: DistillSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with FakeEndpoint(lambda body: " warm", model="tiny") as fake:
        settings = replace(settings, source=ModelSource(base_url=fake.base_url), search=2)
        folder = DistilledFolder.create(Path("begun"), settings) if resumed else None
        with pytest.raises(UserError) as caught:
            distill(None if folder else settings, resume=folder.path if folder else None, output="new")
    assert str(caught.value) == (
        "--search runs in one process.\n"
        "Each of several processes would propose its own trials.\n"
        "Search without accelerate launch, or leave --search out."
    )
    assert not fake.bodies and not Path("new").exists()
