"""A prompt against itself: two prompts answer the test rows of recipes/qa.py on vLLM, each several times.

With greedy decoding a difference is the engine's; with sampling the rule may not find a gain. The scores are stored by
row, so that coverage and false gains can also be measured on rows drawn from them.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.endpoint import say, score_uncached
from benchmarks.prompts import DEMOS, open_qa
from promptstill.endpoint.endpoint import Endpoint
from promptstill.engine.source import ModelSource, open_endpoint
from promptstill.prompt.prompt import Prompt
from promptstill.task.examples import Example
from promptstill.task.recipe import Metric

TEMPERATURE = 0.7


def repeat_test(times: int, rows: int) -> dict[str, Any]:
    """Scores by row of each repeat: {prompt: {"greedy": [[...], [...]], "sampled": [[...], ...]}}."""
    opened = open_qa()
    prompts, test = {"baseline": opened.baseline, f"{DEMOS} demos": opened.demos}, opened.splits.test[:rows]
    with (
        tempfile.TemporaryDirectory() as folder,
        open_endpoint(ModelSource(), opened.model, Path(folder, "engine.log"), say) as (endpoint, _),
    ):
        repeat = partial(repeat_prompt, rows=test, metric=opened.metric, endpoint=endpoint, times=times)
        return {name: asyncio.run(repeat(prompt)) for name, prompt in prompts.items()}


async def repeat_prompt(
    prompt: Prompt, rows: Sequence[Example], metric: Metric, endpoint: Endpoint, times: int
) -> dict[str, list[list[float]]]:
    """Scores by row, twice greedy and `times` sampled; no reply is taken from an earlier repeat."""
    sampled = prompt.model_copy(update={"decoding": prompt.decoding.model_copy(update={"temperature": TEMPERATURE})})
    ways = {"greedy": (prompt, 2), "sampled": (sampled, times)}

    async def scores(one: Prompt) -> list[float]:
        return [round(row.score, 6) for row in await score_uncached(one, rows, metric, endpoint)]

    return {way: [await scores(one) for _ in range(count)] for way, (one, count) in ways.items()}
