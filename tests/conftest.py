"""What the tests of several folders share: a real engine, a finished run, a tiny model and its training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import settings

from optimizer.run.folder import RunFolder
from promptstill.engine import models
from promptstill.engine import vllm as engines

if TYPE_CHECKING:  # heavy imports: torch, aiohttp's server
    from tests.support import tiny
    from tests.support.finished import FinishedRun
from tests.support.terminal import tell

settings.register_profile("shared machine", deadline=None)  # a busy one may stop for longer than any deadline
settings.load_profile("shared machine")


@pytest.fixture(scope="session")
def embedded() -> models.Model:
    return models.find_model(models.EMBEDDED, tell)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory, embedded: models.Model) -> Iterator[engines.Engine]:
    """vLLM with the embedded model, started once for the whole session (about a minute on two cores)."""
    log_path = tmp_path_factory.mktemp("engine") / "engine.log"
    with engines.running_engine(embedded, log_path, tell) as running:
        assert running.process is not None
        yield running
        tree = psutil.Process(running.process.pid).children(recursive=True)
    left = [process for process in tree if process.is_running()]
    assert not left, f"the engine left {left}"


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=lambda mask: f"umask {mask:03o}")
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """The umask of this process while the test runs."""
    before = os.umask(request.param)
    yield int(request.param)
    os.umask(before)


@pytest.fixture
def fake_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small server is in vLLM's place for this test. The folder counts as its model's."""
    from tests.serving import fake_vllm

    return fake_vllm.install(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run against a fake endpoint; for looking at only."""
    from tests.support.finished import finish_run

    return finish_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def finished_run(finished: FinishedRun) -> RunFolder:
    """The folder of that run."""
    return finished.run


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> models.Model:
    from tests.support import tiny

    return tiny.model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def whole(base: models.Model, tmp_path_factory: pytest.TempPathFactory) -> tiny.Training:
    """A training that nothing disturbed."""
    from tests.support import tiny

    return tiny.whole_training(base, tmp_path_factory.mktemp("whole"))
