"""A run's state: where its calls and its study lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer import optimize
from optimizer.run.folder import RunFolder
from optimizer.run.settings import SearchSettings
from optimizer.run.state import open_state
from promptstill.endpoint.store import Completion, Total
from promptstill.errors import UserError
from tests.support.fake import FakeEndpoint
from tests.support.recipe_file import make_rows, write_recipe

SETTINGS = SearchSettings(recipe="codes.py")


def test_calls_and_trials_lie_in_the_run_folder_and_are_there_again(tmp_path: Path) -> None:
    for _ in range(2):
        with open_state(SETTINGS, RunFolder(tmp_path), "codes") as state:
            state.calls.put("key", "task", {}, Completion("text", "stop", 1, 0, 1, 0.1))
            assert state.study.first_note("topic", "value") == "value" and state.study.study.study_name == "codes"
            assert state.calls.totals() == {"task": Total(1, 1, 1)} and len(state.study.notes.trials) == 1
    assert {"calls.db", "study.log"} <= {path.name for path in tmp_path.iterdir()}


def test_a_storage_has_the_study_but_not_the_calls(tmp_path: Path) -> None:
    settings = SearchSettings(recipe="codes.py", storage=f"sqlite:///{tmp_path / 'shared.db'}", study="mine")
    with open_state(settings, RunFolder(tmp_path), "codes") as state:
        assert state.study.study.study_name == "mine"
    names = {path.name for path in tmp_path.iterdir()}
    assert {"calls.db", "shared.db"} <= names and "study.log" not in names


def test_a_storage_that_cannot_be_opened_is_refused_and_the_calls_are_closed(tmp_path: Path) -> None:
    settings = SearchSettings(recipe="codes.py", storage="nonsense://study")
    with pytest.raises(UserError, match="The storage nonsense://study cannot be opened"):
        open_state(settings, RunFolder(tmp_path), "codes").__enter__()
    here = Path("/proc/self/fd")
    assert not here.is_dir() or tmp_path / "calls.db" not in [one.resolve() for one in here.iterdir()]


def test_it_is_refused_before_there_is_a_run_folder(tmp_path: Path) -> None:
    recipe, runs = write_recipe(tmp_path, rows=make_rows(40)), tmp_path / "runs"
    with FakeEndpoint() as fake:
        settings = SearchSettings(recipe=recipe, model="fake", base_url=fake.base_url, storage="nonsense://study")
        with pytest.raises(UserError, match="The storage nonsense://study cannot be opened"):
            optimize(settings, runs=runs, output=None)
    assert not runs.exists() and not fake.calls
