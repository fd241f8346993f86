"""best.json: the hand-off from optimize to distill and serve. What it says of a prompt is what was measured."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import asdict
from typing import Any

from optimizer.run.folder import RunFolder
from optimizer.search.baseline import unseen_rows
from optimizer.search.playoff import SearchOutcome, pareto
from optimizer.search.ranking import answer_labels
from optimizer.search.study import Trial
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import LimitReached
from promptstill.endpoint.client import Client
from promptstill.engine.models import Model
from promptstill.files import write_json
from promptstill.prompt.artifact import SCHEMA_VERSION
from promptstill.prompt.prompt import Prompt
from promptstill.provenance import now, versions
from promptstill.scoring.compare import Marks, estimate
from promptstill.scoring.evaluate import score_rows
from promptstill.scoring.test_report import TestVerdict
from promptstill.task.load import RecipeFile
from promptstill.task.metrics.whole import SplitMetric


def to_artifact(
    *,
    recipe_file: RecipeFile,
    model: Model,
    prompt: Prompt,
    run: RunFolder,
    dev: dict[str, Any],
    verdict: TestVerdict | None,
    search: dict[str, Any],
) -> dict[str, Any]:
    """The content of best.json. Without a verdict (a limit ended the run before test was read) test is null."""
    return lineage(recipe_file, model, run, prompt) | {
        "baseline": run.record.get("baseline"),
        "shipped": verdict.shipped if verdict else "baseline",
        "scores": {"dev": dev, "test": test_scores(verdict)},
        "search": search,
    }


def lineage(recipe_file: RecipeFile, model: Model, run: RunFolder, prompt: Prompt) -> dict[str, Any]:
    """A prompt, and where it comes from: what every file with a prompt of a run has."""
    return {
        "schema_version": SCHEMA_VERSION,
        "id": prompt.id,
        "name": recipe_file.name,
        "created_at": now(),
        "run": run.path.name,
        "recipe": recipe_file.lineage(),
        "model": {"name": model.name, "sha256": model.sha256, **vllm_arguments(run)},
        **judge_record(run),
        "splits": run.record["splits"],
        "example": run.record.get("example", {}),
        "versions": versions(),
        "prompt": prompt.model_dump(mode="json"),
    }


def write_pareto(
    task: SearchTask, outcome: SearchOutcome, recipe_file: RecipeFile, model: Model, run: RunFolder
) -> None:
    """A file for each prompt that no other beats in both score and tokens, the cheapest first; none where one is best
    in both. They were not measured on test."""
    front, folder = pareto(outcome.finalists), run.pareto_path(1).parent
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier part of the run
    for number, trial in enumerate(front if len(front) > 1 else [], 1):
        dev = {"mean": trial.value, "tokens": trial.tokens}
        made = lineage(recipe_file, model, run, task.prompt(trial.candidate)) | {"scores": {"dev": dev, "test": None}}
        folder.mkdir(exist_ok=True)
        write_json(run.pareto_path(number), made)


def vllm_arguments(run: RunFolder) -> dict[str, str]:
    """The user's arguments for the vLLM that answered, so that --gate and --measure start the same; empty for none."""
    settings = run.record.get("settings", {})
    text = "" if settings.get("base_url") else settings.get("vllm_args")
    return {"vllm_args": text} if text else {}


def judge_record(run: RunFolder) -> dict[str, str]:
    """The judge that marked in place of the recipe's, so that --gate compares no marks of two; empty for none."""
    judge = run.record.get("settings", {}).get("judge")
    return {"judge": judge} if judge else {}


def first_fold_record(prompt: Prompt) -> dict[str, Any]:
    """The entry of a cross-validated run: the prompt that was found without the first fold, for `distill` to compare
    with on that fold's rows."""
    return {"first_fold": {"id": prompt.id, "prompt": prompt.model_dump(mode="json")}}


def search_record(task: SearchTask, outcome: SearchOutcome, client: Client, seconds: float) -> dict[str, Any]:
    """What the search did, for best.json and run.json. `seconds` are this process's."""
    return {
        "seed": task.seed,
        "draws": client.draws,
        "trials": len(outcome.trials),
        "rows_evaluated": sum(len(trial.scores) for trial in outcome.trials),
        "rows_of_full_evaluation": len(outcome.trials) * len(task.dev),
        "stopped": str(outcome.stopped) if outcome.stopped else None,
        "spent": client.allowance.record(),
        "seconds": round(seconds, 1),
        "winner": outcome.winner.candidate.to_params(),
        "playoff": [asdict(entry) for entry in outcome.playoff],
        "pareto": [
            {"score": t.value, "tokens": t.tokens, **t.candidate.to_params()} for t in pareto(outcome.finalists)
        ],
    }


async def dev_scores(task: SearchTask, outcome: SearchOutcome, shipped: Prompt, client: Client) -> dict[str, Any]:
    """The dev scores: the winner's interval, and the shipped prompt's by row, for `optimize --gate`.

    A baseline prompt that lost its race early is scored on the other rows now, if the limits allow.
    """
    scores = next((t.scores for t in (*outcome.finalists, *outcome.trials) if t.prompt_id == shipped.id), {})
    if len(scores) < len(task.dev):
        with contextlib.suppress(LimitReached):
            results = await score_rows(shipped, task.dev, task.metric, client)
            scores = {row: result.score for row, result in enumerate(results)}
    asked_as_it_is = {id(row) for row in unseen_rows(shipped, task.dev, shared=task.shared)}
    kept = [row for row in sorted(scores) if id(task.dev[row]) in asked_as_it_is]
    return {
        "winner": asdict(estimate(dev_marks(task, outcome.winner), task.seed)),
        "shipped_rows": {task.dev[row].id: round(scores[row], 6) for row in kept},
    }


def dev_marks(task: SearchTask, trial: Trial) -> Marks:
    """What a trial got on dev."""
    groups = [task.dev[row].group for row in trial.scores]
    labels = answer_labels(task.metric, task.dev, trial) if isinstance(task.metric, SplitMetric) else None
    return Marks(list(trial.scores.values()), groups, labels)


def test_scores(verdict: TestVerdict | None) -> dict[str, Any] | None:
    """The test split's part: each prompt's report, the winner's paired gains, and the rivals with those over them."""
    if verdict is None:
        return None
    reports = {arm: report.to_json() for arm, report in verdict.reports.items()}
    gains = {over: asdict(gain) for over, gain in verdict.gains.items()}
    rivals = {name: rival.to_json() for name, rival in verdict.rivals.items()}
    told = {"gains": gains, "dev_optimism": verdict.dev_optimism, "winners": verdict.winners, "rivals": rivals}
    folds = {"folds": [asdict(fold) for fold in verdict.folds]} if verdict.folds else {}
    return {**reports, **told, **folds}
