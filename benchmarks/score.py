"""The test split asked through the endpoint, against what the artifact says it scores.

    serve best.json [--adapter distilled/]
    python -m benchmarks.score recipes/qa.py http://127.0.0.1:8000 qa-prompt [qa-distilled ...] [data=FILE.jsonl ...]

Replies are read by the prompt's own parser, so a reply that does not parse scores zero, as in `optimize`. The split is
the one that the recipe makes with seed 0.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from promptstill.errors import ReplyError
from promptstill.prompt.layouts.task import Task
from promptstill.task.examples import Example
from promptstill.task.load import load_recipe
from promptstill.task.metrics import apply_metric
from promptstill.task.splits import split_examples
from serving import Client

THREADS = 32


def main() -> None:
    source, url, *rest = sys.argv[1:]
    names = [word for word in rest if "=" not in word]
    loaded = load_recipe(source, dict(word.split("=", 1) for word in rest if "=" in word))
    task = Task(loaded.recipe.signature, loaded.recipe.model, 1)
    rows = split_examples(loaded.recipe, task.inputs, task.outputs, 0).test
    with Client(url, os.environ.get("VLLM_API_KEY")) as client, ThreadPoolExecutor(THREADS) as pool:
        cards = {model["id"]: model["promptstill"] for model in client.models()}
        for name in names:

            def score(row: Example, name: str = name) -> float:
                try:
                    return apply_metric(loaded.recipe.metric, row, client.ask(name, **row.inputs)).score
                except ReplyError:
                    return 0.0

            scores = list(pool.map(score, rows))
            stored = cards[name]["score"] or {}
            print(f"{name}: {100 * sum(scores) / len(scores):.1f} here on {len(rows)} rows; the artifact says "
                  f"{100 * stored.get('mean', float('nan')):.1f} on {stored.get('n')}")  # fmt: skip


if __name__ == "__main__":
    main()
