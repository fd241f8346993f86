"""Real A/A runs: two prompts answer the test rows of recipes/qa.py on vLLM, each again and again.

A prompt against itself: greedy, where a difference would be the engine's, and sampled, where the rule may not find a
gain. The scores are kept by row, so that coverage and false gains can also be measured on rows drawn from them.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optimizer.budget import Budget, Meter
from optimizer.calls import SqliteCalls
from optimizer.client import Client, Endpoint
from optimizer.endpoints import Source, answering
from optimizer.evaluate import score_rows
from optimizer.examples import Example
from optimizer.layouts import build
from optimizer.metrics import Metric
from optimizer.models import markers, resolve
from optimizer.pools import spread
from optimizer.prepare import prepare
from optimizer.prompt import Prompt
from optimizer.settings import Settings

RECIPE = Path(__file__).parents[1] / "recipes" / "qa.py"
TEMPERATURE = 0.7
DEMOS = 4


def read_again(times: int, rows: int) -> dict[str, Any]:
    """Scores by row of each reading: {prompt: {"greedy": [[...], [...]], "sampled": [[...], ...]}}."""
    prepared = prepare(Settings(recipe=str(RECIPE)))
    model = resolve(prepared.loaded.recipe.model, print)
    task = replace(prepared.task, markers=markers(model))
    shown = spread(prepared.splits.train, DEMOS, "0")
    instruction = task.signature.instructions
    prompts = {"seed": build(task, "chat", instruction), "4 demos": build(task, "raw", instruction, shown, k=DEMOS)}
    test, metric = prepared.splits.test[:rows], prepared.loaded.recipe.metric
    with tempfile.TemporaryDirectory() as folder:
        with answering(Source(), model, Path(folder, "engine.log"), print) as (endpoint, _):
            return {name: asyncio.run(readings(one, test, metric, endpoint, times)) for name, one in prompts.items()}


async def readings(
    prompt: Prompt, rows: Sequence[Example], metric: Metric, endpoint: Endpoint, times: int
) -> dict[str, list[list[float]]]:
    """Twice greedy, `times` sampled."""
    warm = prompt.model_copy(update={"decoding": prompt.decoding.model_copy(update={"temperature": TEMPERATURE})})
    return {
        "greedy": [await reading(prompt, rows, metric, endpoint) for _ in range(2)],
        "sampled": [await reading(warm, rows, metric, endpoint) for _ in range(times)],
    }


async def reading(prompt: Prompt, rows: Sequence[Example], metric: Metric, endpoint: Endpoint) -> list[float]:
    """The scores of one reading; nothing is taken from an earlier one."""
    store = SqliteCalls(Path(":memory:"))
    try:
        async with Client(endpoint, store, Meter(Budget(), {})) as client:
            return [round(one.score, 6) for one in await score_rows(prompt, rows, metric, client)]
    finally:
        store.close()
