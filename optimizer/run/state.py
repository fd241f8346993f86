"""A run's state, from which it goes on: the calls that it paid for and the trials of its study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from optimizer.run.folder import RunFolder
from optimizer.run.settings import SearchSettings
from optimizer.search.study import StoredStudy
from promptstill.endpoint.store import CallStore
from promptstill.endpoint.stores import open_calls


@dataclass(frozen=True)
class RunState:
    """Where each completion and each finished trial is kept."""

    calls: CallStore
    study: StoredStudy


def refuse_storage(settings: SearchSettings, name: str) -> None:
    """Raises `UserError` where the settings' `storage` cannot be opened; asked before there is a run folder."""
    if settings.storage is not None:
        StoredStudy.open(settings.storage, Path(), settings.study or name)


@contextmanager
def open_state(settings: SearchSettings, folder: RunFolder, name: str) -> Iterator[RunState]:
    """The state of a run of the recipe `name`, open for the length of the block.

    The calls lie in the run folder; so does the study's journal, unless the settings have a `storage` URL. Raises
    `UserError` for a storage that cannot be opened, and `InfrastructureError` for a broken store of calls.
    """
    with closing(open_calls(folder.calls_url)) as calls:
        yield RunState(calls, StoredStudy.open(settings.storage, folder.study_path, settings.study or name))
