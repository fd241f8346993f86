"""What several tests of distill share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from distill.folder import DistilledFolder
from distill.settings import DistillSettings
from optimizer.run.folder import RunFolder
from promptstill.engine.models import Model


@pytest.fixture(scope="session")
def adapter(base: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the tiny model, trained for an epoch."""
    from distill.train.loop import train
    from tests.support import tiny

    folder = tmp_path_factory.mktemp("trained")
    hyper = replace(tiny.HYPER, epochs=1, rslora=True)
    train(tiny.job(base, folder / "work", hyper), folder / "adapter", lambda progress: None)
    return folder / "adapter"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DistillSettings:
    """Settings that pass every check, in a working directory with best.json, its recipe and the tiny model."""
    from tests.support import tiny
    from tests.support.feel import write_best_json

    monkeypatch.chdir(tmp_path)
    write_best_json(tmp_path, replace(tiny.model(tmp_path / "tiny"), name="tiny"))
    return DistillSettings(from_prompt="best.json")


@pytest.fixture
def folded(settings: DistillSettings) -> DistillSettings:
    """The same with the best.json of a run that was cross-validated in five folds."""
    from tests.support.feel import write_best_json

    write_best_json(Path(), Model("tiny", "tiny", "0" * 64), folds=5)
    return settings


@pytest.fixture
def distilled(finished_run: RunFolder, tmp_path: Path) -> DistilledFolder:
    """The folder of a finished distillation."""
    from distill.artifact import write_result
    from tests.support.distilled import sample_distillation

    folder = DistilledFolder.create(tmp_path / "distilled", DistillSettings(from_prompt="best.json"))
    write_result(folder, sample_distillation(finished_run, folder))
    return folder


@pytest.fixture
def cross_validated(finished_run: RunFolder, tmp_path: Path) -> DistilledFolder:
    """The folder of a finished distillation of a cross-validated run."""
    from distill.artifact import write_result
    from tests.support import distilled

    folder = DistilledFolder.create(tmp_path / "folds" / "distilled", DistillSettings(from_prompt="best.json"))
    result = distilled.sample_distillation(finished_run, folder)
    write_result(folder, distilled.cross_validated(result, folder))
    return folder


@pytest.fixture
def unfinished(finished_run: RunFolder, tmp_path: Path) -> DistilledFolder:
    """The folder of a distillation whose teacher has answered, and whose student has trained one epoch."""
    from tests.support.distilled import sample_distillation

    folder = DistilledFolder.create(tmp_path / "half way", DistillSettings(from_prompt="best.json"))
    result = sample_distillation(finished_run, folder)
    folder.write_step("plan", result.plan.page_facts)
    arms = {"best": result.verdict.best, "bare": result.verdict.bare}
    folder.write_step("teacher", replace(result.teacher_data, arms=arms).to_json())
    return folder
