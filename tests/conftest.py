"""What every test may use: one real engine for all end-to-end tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import psutil
import pytest

from optimizer import engine as engines
from optimizer import models
from optimizer.run import RunFolder


def tell(line: str) -> None:
    """Progress of a slow fixture, visible with `pytest -s`."""
    print(line, file=sys.stderr, flush=True)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[engines.Engine]:
    """vLLM with the embedded model, started once for the whole session (about a minute on two cores)."""
    model = models.resolve(models.EMBEDDED, tell)
    log_path = tmp_path_factory.mktemp("engine") / "engine.log"
    with engines.running(model, log_path, tell) as running:
        assert running.process is not None
        yield running
        tree = psutil.Process(running.process.pid).children(recursive=True)
    left = [process for process in tree if process.is_running()]
    assert not left, f"the engine left {left}"


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The folder of a run against a fake endpoint; for looking at only."""
    from tests.fake import FakeEndpoint
    from tests.test_optimize import command, knows_with_demos, run

    folder = tmp_path_factory.mktemp("finished")
    with FakeEndpoint(knows_with_demos) as fake:
        done = run(command(fake, folder), folder)
    assert done.returncode == 0, done.stderr
    return RunFolder(next((folder / "runs").iterdir()))
