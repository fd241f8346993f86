"""A whole run: the recipe opened, its folder made, its endpoint started, the steps done, best.json written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from optimizer.command.summary import double_limit
from optimizer.pipeline import search_and_measure
from optimizer.run.folder import RunFolder, open_run
from optimizer.run.result import RunResult
from optimizer.run.settings import SearchSettings
from optimizer.run.state import refuse_storage
from optimizer.search.forecast import max_test_calls, refuse_small_limit, visible_gain_line
from optimizer.search.race import GENERATION, blocks
from optimizer.search.search import NothingToChoose
from promptstill.command.exits import run_async
from promptstill.endpoint.allowance import LimitReached
from promptstill.endpoint.client import served_models
from promptstill.endpoint.hosted import find_hosted, is_hosted
from promptstill.endpoint.url import split_model
from promptstill.engine.models import Model
from promptstill.engine.source import ModelSource, open_endpoint
from promptstill.errors import PromptstillError, UserError
from promptstill.events import Listener, Say, teller
from promptstill.files import write_text
from promptstill.power import power_line
from promptstill.shell import command_line
from promptstill.task.judge import JudgeAt
from promptstill.task.leakage import leak_warnings
from promptstill.task.metrics.apply import refuse_unpriced_judge
from promptstill.task.open import OpenTask
from promptstill.task.spelling import spelling_warnings
from promptstill.task.splits import describe_splits


def run_search(
    settings: SearchSettings | None, resume: str | Path | None, runs: Path, output: Path | None, listener: Listener
) -> RunResult:
    """See `optimizer.optimize`."""
    say = teller(listener)
    if resume is not None and settings is None:
        settings = RunFolder.open(Path(resume)).settings()
    if settings is None:
        raise UserError("Which recipe?", "There are neither settings nor a run to go on with.", "Give one of them.")
    settings, opened = settle_folds(settings, resume, say)
    settings = with_proposer_found(settings, say).at_provider(opened.recipe.model)
    for hosted in settings.hosted_by_role(opened.recipe.model).values():
        say(hosted.line)
    for line in data_lines(opened):
        say(line)
    held = max_test_calls(opened.test_calls, dspy=settings.dspy)
    searches = len(opened.splits.folds) + 1
    counts = {"searches": searches, "draws": settings.draws}
    refuse_small_limit(settings.limits.calls, 0, len(opened.splits.dev), held, dspy=settings.dspy, **counts)
    # Before there is a folder: a run that never began is nothing to go on with.
    model = settings.find_model(opened, say)
    refuse_unserved(settings.source, model, say)
    if proposer := settings.proposer_at:
        name, source = proposer
        refuse_unserved(source, Model(name, name, None), say, "--proposer")
    refuse_unserved_judge(settings.judge_at, say)
    refuse_unpriced_judge(settings.limits, opened.recipe.metric)
    if embedder := settings.embedder:
        run_async(embedder.try_out())
    refuse_storage(settings, opened.name)
    if resume is not None:
        settings.refuse_changes(RunFolder.open(Path(resume)).settings())
    run = open_run(settings, opened, runs, Path(resume) if resume is not None else None)
    worker, lock = run.join()
    say(f"run folder {run.path}" + (f" (worker {worker})" if worker else ""))
    log_path = run.logs_dir / f"engine-{worker}.log"
    with hints(run, say), lock, open_endpoint(settings.source, model, log_path, say) as served:
        result = run_async(search_and_measure(opened, settings, served, model, run, listener, worker))
    if result.best is not None and output is not None:
        write_text(output, run.best_path.read_text(encoding="utf-8"))
    return result


def settle_folds(settings: SearchSettings, resume: str | Path | None, say: Say) -> tuple[SearchSettings, OpenTask]:
    """The settings with the number of folds that the run has or had, and the task dealt by it.

    Where nobody asked for folds, there are none where `--max-calls` does not let each search ask its first candidates a
    first block.
    """
    if resume is not None and settings.folds is None:
        settings = replace(settings, folds=RunFolder.open(Path(resume)).settings().folds)
    opened, limit = settings.open_task(), settings.limits.calls
    folds = len(opened.splits.folds)
    least = (folds + 1) * GENERATION * len(blocks(len(opened.splits.dev))[0]) * settings.draws
    if settings.folds is None and folds and limit is not None:
        held = max_test_calls(opened.test_calls, dspy=settings.dspy)
        if limit < least + held:
            need = f"{folds} folds (at least {least + held:,} calls)"
            say(f"--max-calls {limit} does not pay for {need}: the rows are dealt once")
            settings = replace(settings, folds=0)
            return settings, settings.open_task()
    return replace(settings, folds=folds), opened


def with_proposer_found(settings: SearchSettings, say: Say) -> SearchSettings:
    """The settings with the address of a proposer that is named as a provider's model, where the task's own endpoint
    does not list that name. Raises as `served_models` does."""
    name, url = split_model(settings.proposer or "")
    source = settings.source
    hosted = find_hosted(name) if url is None and source.base_url and not is_hosted(source.base_url) else None
    if hosted is None or name in listed_models(source, Model(name, name, None), say):
        return settings
    return replace(settings, proposer=f"{name}@{hosted.url}")


def listed_models(source: ModelSource, model: Model, say: Say) -> list[str]:
    """What the user's endpoint lists; nothing of a provider, of which only the key is looked for."""
    with open_endpoint(source, model, Path(), say) as (endpoint, _):
        if is_hosted(endpoint.base_url):
            return []
        return [str(entry.get("id")) for entry in run_async(served_models(endpoint))]


def refuse_unserved(source: ModelSource, model: Model, say: Say, option: str = "--model") -> None:
    """Ask the user's endpoint for its models; of a provider only the key is looked for. Raises as `served_models` does,
    and where it lists others alone."""
    if source.base_url is None:
        return
    names = listed_models(source, model, say)
    if names and model.name not in names:
        raise UserError(
            f"The endpoint does not serve {model.name}.",
            f"It serves {', '.join(names[:20])}.",
            f"Name one with {option}.",
        )


def refuse_unserved_judge(judge: JudgeAt | None, say: Say) -> None:
    """The same for a judge that `--judge` names with its URL."""
    if judge and judge.base_url and judge.api_key_env:
        source = ModelSource(judge.base_url, judge.api_key_env)
        refuse_unserved(source, Model(judge.model, judge.model, None), say, "--judge")


def data_lines(opened: OpenTask) -> list[str]:
    """What the recipe's rows are, what looks wrong in them, and what they can show."""
    splits = opened.splits
    return [
        *describe_splits(splits, opened.recipe),
        *([] if splits.whole_train else leak_warnings(splits)),
        *spelling_warnings(splits.labelled, opened.task.outputs),
        *opened.warnings,
        visible_gain_line(len(splits.dev)),
        power_line(len(splits.test), folds=bool(splits.folds)),
    ]


@contextmanager
def hints(run: RunFolder, say: Say) -> Iterator[None]:
    """What leaves the block goes on, behind the command that goes on with the run."""
    try:
        yield
    except LimitReached as reached:
        say(f"{reached} is reached before any prompt was scored on dev: nothing to choose from")
        say(f"to go on: {double_limit(run.path, reached.limit)}")
        raise
    except NothingToChoose:
        say("other processes of this study are trying every candidate: nothing to choose from yet")
        say(f"to go on, once they are done: {command_line('optimize', '--resume', run.path)}")
        raise
    except (KeyboardInterrupt, PromptstillError):
        say(f"to go on: {command_line('optimize', '--resume', run.path)}")
        raise
