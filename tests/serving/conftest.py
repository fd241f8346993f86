"""What the tests of several files here share: variants, paths, and a real server for the e2e tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from promptstill.engine import models
from serving.variants import ServedModels, load_variants
from tests.support import artifacts

if TYPE_CHECKING:  # a heavy import: hypothesis
    from tests.support.server import Server


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, embedded: models.Model) -> Iterator[Server]:
    """`serve` with all artifacts, started once for the tests here. No test may stop it."""
    from tests.support.server import finish, start_with_all_artifacts

    server = start_with_all_artifacts(tmp_path_factory.mktemp("served"), embedded)
    yield server
    finish(server)


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> ServedModels:
    """Every layout and the typed tasks, for the middleware over tests.serving.upstream."""
    folder = tmp_path_factory.mktemp("artifacts")
    prompts = artifacts.prompts("fake").items()
    return load_variants([artifacts.write_best(folder / f"{name}.json", name, prompt) for name, prompt in prompts], [])


@pytest.fixture
def access_log(tmp_path: Path) -> Path:
    return tmp_path / "access.jsonl"


@pytest.fixture
def best(tmp_path: Path) -> Path:
    """A best.json of the recipe `qa`, in layout raw."""
    return artifacts.write_best(tmp_path / "best.json", "qa", artifacts.qa_prompt("raw"))
