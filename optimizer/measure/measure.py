"""The measurement itself: the recipe opened, each model asked each prompt on the test rows, all of it noted.

Each prompt counts as a winner that was evaluated on these rows: who measures often chooses by test.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from optimizer.launch import refuse_unserved
from optimizer.measure.files import open_subjects, split_seed_of
from optimizer.measure.measurement import SEED, Cell, Measurement
from optimizer.measure.port import Porter, port_calls, shortest
from optimizer.measure.settings import MeasureSettings, ModelAt
from optimizer.measure.subject import Subject
from optimizer.run.folder import MEASURE, RunFolder
from promptstill.command.exits import run_async
from promptstill.endpoint.allowance import Allowance, Limit, LimitReached, Limits
from promptstill.endpoint.client import Client
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.hosted import is_hosted, with_table_prices
from promptstill.endpoint.rate_notice import RateNotice
from promptstill.endpoint.store import CallStore
from promptstill.endpoint.stores import open_calls
from promptstill.engine.models import Model
from promptstill.engine.source import open_endpoint
from promptstill.errors import UserError
from promptstill.events import Listener, Say, silent, teller
from promptstill.files import write_json
from promptstill.provenance import now
from promptstill.scoring.rivals.of_recipe import rivals_of
from promptstill.scoring.rivals.report import RivalResult
from promptstill.scoring.rows import write_rows
from promptstill.scoring.test_report import summarize_results
from promptstill.task.judge import judges_at
from promptstill.task.open import OpenTask, open_task
from promptstill.text import plural


def measure(settings: MeasureSettings, runs: Path = Path("runs"), listener: Listener = silent) -> Measurement:
    """Score the prompts on test. Raises `UserError` and `InfrastructureError`; a limit ends it with what is whole."""
    say = teller(listener)
    split_seed = split_seed_of(settings.files) if settings.split_seed is None else settings.split_seed
    with judges_at(settings.judge_at):
        opened = open_task(settings.recipe, settings.parameters, split_seed=split_seed)
    subjects, test = open_subjects(settings.files, opened, runs), opened.splits.test
    models = [as_found(at, subjects) for at in settings.models_at(opened.recipe.model)]
    limits = priced_limits(settings.limits, models)
    asked = [(subject, at.name) for at in models for subject in subjects]
    calls = sum(subject.most_calls(test) + port_calls(subject, name) for subject, name in asked)
    refuse_small_limit(settings.limits.calls, calls)
    found = [(at, at.find(say)) for at in models]
    for at, model in found:
        refuse_unserved(at.source, model, say)
    if embedder := settings.embedder:
        run_async(embedder.try_out())
    for note in filter(None, (subject.shown_note(test) for subject in subjects)):
        say(note)
    folder = RunFolder.create(f"{opened.name}-measure", runs)
    folder.begin(opened.recipe_file, opened.splits, settings.to_json())
    folder.note(kind=MEASURE)
    most = "up to " if calls > len(asked) * len(test) else ""
    say(
        f"measuring on test: {plural(len(subjects), 'prompt')} on {plural(len(models), 'model')}, {most}{calls:,} calls"
    )
    allowance = Allowance(limits)
    with closing(open_calls(folder.calls_url)) as store:
        return Bench(opened, subjects, folder, store, allowance, say, settings).run(found)


def priced_limits(limits: Limits, models: Sequence[ModelAt]) -> Limits:
    """The limits with the price of the one model, where that is a provider's; of several only `--price` tells one.

    Raises `UserError` for `--max-usd` without it.
    """
    alone = models[0] if len(models) == 1 and is_hosted(models[0].source.base_url or "") else None
    return with_table_prices(limits, {"": alone.name} if alone else {})


def as_found(at: ModelAt, subjects: Sequence[Subject]) -> ModelAt:
    """The model, its vLLM started as for the search of the first best.json that was found on it."""
    for subject in subjects:
        if subject.origin and subject.origin.model == at.name:
            return replace(at, source=at.source.as_recorded(subject.origin.engine, subject.label))
    return at


def refuse_small_limit(limit: int | None, calls: int) -> None:
    """Raises `UserError` where `--max-calls` would end the measurement before its end."""
    if limit is not None and limit < calls:
        raise UserError(
            f"--max-calls {limit} is too few: measuring takes up to {calls:,} calls.",
            "A prompt that was asked on part of the rows cannot be compared.",
            "Allow more calls, or measure fewer prompts.",
        )


@dataclass(frozen=True)
class Bench:
    """Where all prompts are asked: the rows, and what is shared by the models."""

    opened: OpenTask
    subjects: Sequence[Subject]
    folder: RunFolder
    store: CallStore
    allowance: Allowance
    say: Say
    settings: MeasureSettings

    def run(self, models: Sequence[tuple[ModelAt, Model]]) -> Measurement:
        """Every prompt on every model. What it cost is noted in run.json however it ends."""
        cells: list[Cell] = []
        stopped: Limit | None = None
        try:
            for number, (at, model) in enumerate(models):
                log_path = self.folder.logs_dir / f"engine-{number}.log"
                with open_endpoint(at.source, model, log_path, self.say) as (endpoint, _):
                    run_async(self.ask_all(endpoint, model, at.label, cells))
        except LimitReached as reached:
            stopped = reached.limit
        finally:
            self.folder.note(spent=self.allowance.record(), ended_at=now())
        return self.finish(cells, stopped)

    async def ask_all(self, endpoint: Endpoint, model: Model, label: str, cells: list[Cell]) -> None:
        """Add each prompt's cell for one model."""
        rows, metric = self.opened.splits.test, self.opened.recipe.metric
        async with Client(endpoint, self.store, self.allowance) as client:
            client.pacer.on_rate = RateNotice(self.allowance, self.say)
            subjects = await Porter(model, shortest(rows), client, self.say).port(self.subjects)
            for subject in subjects:
                await subject.check(rows, metric, client)
            for subject in subjects:
                report = summarize_results(await subject.score(rows, metric, client), SEED)
                self.folder.count_winners(rows, subject.id)
                cells.append(Cell(subject.label, label, subject.id, report, model.name, subject.origin))

    def finish(self, cells: Sequence[Cell], stopped: Limit | None) -> Measurement:
        """Count the prompts, and write what was measured."""
        if not cells:
            self.say(f"{stopped} is reached before any prompt was measured on all rows")
        winners = self.folder.count_winners(self.opened.splits.test)
        rivals = self.measure_rivals() if cells else {}
        made = Measurement(self.folder, cells, winners, self.allowance, stopped, rivals)
        write_json(self.folder.path / "measure.json", made.to_json())
        if cells:
            several = len({cell.model for cell in cells}) > 1
            names = [f"{cell.prompt} on {cell.model}" if several else cell.prompt for cell in cells]
            prompts = {name: cell.report.results for name, cell in zip(names, cells, strict=True)}
            write_rows(self.folder.test_path, prompts | {name: rival.results for name, rival in rivals.items()})
        return made

    def measure_rivals(self) -> dict[str, RivalResult]:
        """The rivals on the same rows; none with `--no-rivals`."""
        settings = self.settings
        return run_async(rivals_of(self.opened, settings.embedder, self.say)) if settings.rivals else {}
