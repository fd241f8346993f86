"""best.json: the hand-off from optimize to distill and serve. What it says of a prompt is what was measured."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from optimizer.load import LoadedRecipe
from optimizer.measure import Verdict
from optimizer.models import Model
from optimizer.prompt import SCHEMA_VERSION, Prompt
from optimizer.run import RunFolder, lineage, now, versions


def artifact(
    *,
    loaded: LoadedRecipe,
    model: Model,
    prompt: Prompt,
    run: RunFolder,
    dev: dict[str, Any],
    verdict: Verdict | None,
    search: dict[str, Any],
) -> dict[str, Any]:
    """The content of best.json. Without a verdict (a budget ended the run before test was read) test is null."""
    return {
        "schema_version": SCHEMA_VERSION,
        "id": prompt.id,
        "name": loaded.name,
        "created_at": now(),
        "run": run.path.name,
        "recipe": lineage(loaded),
        "model": {"name": model.name, "sha256": model.sha256},
        "shipped": verdict.shipped if verdict else "seed",
        "scores": {"dev": dev, "test": tested(verdict)},
        "search": search,
        "splits": run.record["splits"],
        "example": run.record.get("example", {}),
        "versions": versions(),
        "prompt": prompt.model_dump(mode="json"),
    }


def tested(verdict: Verdict | None) -> dict[str, Any] | None:
    """The test split's part: each reading, and the winner's paired gains."""
    if verdict is None:
        return None
    readings = {name: getattr(verdict, name).to_json() for name in ("seed", "dspy", "winner")}
    gains = {"over_seed": asdict(verdict.over_seed), "over_dspy": asdict(verdict.over_dspy)}
    return {**readings, "gains": gains, "dev_optimism": verdict.dev_optimism, "winners": verdict.winners}
