"""Runs a recorded search again: the search's own code, with the record in place of a model. Nothing is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optimizer.one_search import OneSearch
from optimizer.pipeline import Steps, draw_report
from optimizer.run.folder import RunFolder
from optimizer.run.result import RunResult
from optimizer.run.settings import SearchSettings
from optimizer.search.study import StoredStudy
from optimizer.tour.record import Record
from promptstill.command.exits import run_async
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.client import Client
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.store import Completion, Total
from promptstill.engine.models import Model
from promptstill.errors import InfrastructureError
from promptstill.events import Listener, silent, teller
from promptstill.provenance import now, versions
from promptstill.task.open import OpenTask

NOWHERE = "replay://record"  # no address of a network: what is asked besides replies fails before it connects


class RecordedReplies:
    """A `CallStore` that has the replies of a record and takes no other. What is not recorded ends the replay."""

    def __init__(self, record: Record) -> None:
        self.record, self._replies = record, record.replies()

    def get(self, key: str) -> Completion | None:
        if key not in self._replies:
            raise misfit_error(self.record)
        return self._replies[key]

    def put(self, key: str, role: str, body: dict[str, Any], completion: Completion) -> None:
        raise misfit_error(self.record)

    def totals(self) -> dict[str, Total]:
        """Nothing: a replay pays for no call."""
        return {}

    def working_seconds(self, role: str | None = None) -> float:
        return 0.0

    def close(self) -> None:
        """There is nothing to give back."""


def misfit_error(record: Record) -> InfrastructureError:
    """The search asks for a reply that the record does not have."""
    here = versions()
    others = {name: one for name, one in record.search.versions.items() if here.get(name) != one}
    why = "The search has changed since it was recorded."
    do = "In a checkout, record it again: python -m scripts.record_tour"
    if others:
        had = ", ".join(f"{name} {one} (here {here.get(name)})" for name, one in others.items())
        why = f"It was recorded with {had}."
        do = f"Take what it had: pip install {' '.join(f'{name}=={one}' for name, one in others.items())}"
    return InfrastructureError("The replay stops: the search asks for a reply that its record does not have.", why, do)


def replay_settings(record: Record) -> SearchSettings:
    """The settings of the recorded search."""
    search = record.search
    return SearchSettings(recipe=str(record.recipe_path), model=search.model, trials=search.trials, seed=search.seed)


def replay(record: Record, opened: OpenTask, root: Path, listener: Listener = silent) -> RunResult:
    """Search again, into a run folder `root`/replay-…, whose page says that it is a replay.

    Raises `InfrastructureError` where the search asks what the record does not have.
    """
    settings = replay_settings(record)
    run = RunFolder.create(f"replay-{opened.name}", root)
    run.begin(opened.recipe_file, opened.splits, settings.to_json())
    told = record.search.model_dump(include={"recorded_at", "model", "calls", "tokens"})
    run.note(replay={**told, "note": record.distillation.note})
    return run_async(search_in_record(record, opened, settings, run, listener))


async def search_in_record(
    record: Record, opened: OpenTask, settings: SearchSettings, run: RunFolder, listener: Listener
) -> RunResult:
    """The steps of a search, and its page."""
    search, allowance = record.search, Allowance()
    endpoint = Endpoint(NOWHERE, search.identity, slow=search.slow)
    model = Model(search.model, str(record.path), search.identity)  # the folder has the markers of its tokenizer
    study = StoredStudy.open(None, run.study_path, opened.name)
    try:
        async with Client(endpoint, RecordedReplies(record), allowance) as client:
            parts = (opened, settings, client, search.context, model, run, listener, 0, study)
            return await Steps(OneSearch(*parts)).run()
    finally:
        run.note(spent=allowance.record(), ended_at=now())
        draw_report(run, teller(listener))
