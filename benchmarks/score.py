"""The test split asked through the endpoint, against what the artifact says it scores.

    serve best.json [--adapter distilled/]
    python -m benchmarks.score recipes/qa.py http://127.0.0.1:8000 qa-prompt [qa-distilled ...] [data=FILE.jsonl ...]

Replies are read by `parsed`, so a reply that does not parse scores zero, as in optimize. The split is the one that the
recipe deals with seed 0.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from optimizer.errors import ReplyError
from optimizer.evaluate import apply
from optimizer.examples import Example, split_examples
from optimizer.layouts import Task
from optimizer.load import load
from serving import Client

AT_ONCE = 32


def main() -> None:
    source, url, *rest = sys.argv[1:]
    names = [word for word in rest if "=" not in word]
    loaded = load(source, dict(word.split("=", 1) for word in rest if "=" in word))
    task = Task(loaded.recipe.signature, loaded.recipe.model, 1)
    rows = split_examples(loaded.recipe, task.inputs, task.outputs, 0).test
    with Client(url, os.environ.get("VLLM_API_KEY")) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        cards = {model["id"]: model["promptstill"] for model in client.models()}
        for name in names:

            def score(row: Example, name: str = name) -> float:
                try:
                    return apply(loaded.recipe.metric, row, client.ask(name, **row.inputs))
                except ReplyError:
                    return 0.0

            scores = list(pool.map(score, rows))
            said = cards[name]["score"] or {}
            print(f"{name}: {100 * sum(scores) / len(scores):.1f} here on {len(rows)} rows; the artifact says "
                  f"{100 * said.get('mean', float('nan')):.1f} on {said.get('n')}")  # fmt: skip


if __name__ == "__main__":
    main()
