"""What the tests of several files share: real engines, what the middleware serves, a tiny model and its training."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from optimizer import engine as engines
from optimizer import models
from optimizer.run import RunFolder
from serving.variants import Served, load

if TYPE_CHECKING:  # heavy imports: dspy, hypothesis, torch
    from tests import tiny
    from tests.server import Server


def tell(line: str) -> None:
    """Progress of a slow fixture, visible with `pytest -s`."""
    print(line, file=sys.stderr, flush=True)


@pytest.fixture(scope="session")
def embedded() -> models.Model:
    return models.resolve(models.EMBEDDED, tell)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory, embedded: models.Model) -> Iterator[engines.Engine]:
    """vLLM with the embedded model, started once for the whole session (about a minute on two cores)."""
    log_path = tmp_path_factory.mktemp("engine") / "engine.log"
    with engines.running(embedded, log_path, tell) as running:
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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, embedded: models.Model) -> Iterator[Server]:
    """`serve` with everything, started once for the three test_serve*_e2e.py.

    pytest runs files by name: test_serve_stop_e2e.py, which ends this server, must stay the last of the three.
    """
    from tests.server import finish, start_with_everything

    server = start_with_everything(tmp_path_factory.mktemp("served"), embedded)
    yield server
    finish(server)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Every layout and the typed tasks, for the middleware over tests.upstream."""
    from tests import artifacts

    folder = tmp_path_factory.mktemp("artifacts")
    return load([artifacts.write_best(folder / f"{n}.json", n, p) for n, p in artifacts.prompts("fake").items()], [])


@pytest.fixture
def access(tmp_path: Path) -> Path:
    return tmp_path / "access.jsonl"


@pytest.fixture
def best(tmp_path: Path) -> Path:
    from tests import artifacts

    return artifacts.write_best(tmp_path / "best.json", "qa", artifacts.qa_prompt("raw"))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> models.Model:
    from tests import tiny

    return tiny.model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def whole(base: models.Model, tmp_path_factory: pytest.TempPathFactory) -> tiny.Training:
    """A training that nothing disturbed."""
    from tests import tiny

    return tiny.whole_training(base, tmp_path_factory.mktemp("whole"))
