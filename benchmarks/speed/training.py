"""Training throughput of `distill.train` against a plain loop: same model, adapter, rows and real tokens, in one run.

    python -m benchmarks.speed.training
    python -m benchmarks.speed.training --data trec.jsonl --inputs text --output label

The plain loop is as in a tutorial: batches of 16 rows in random order, padded to the longest, logits of every token.
Both loops take turns, so that other load on the machine slows both.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dspy
import torch

from benchmarks.cells import FAST, RESULTS, cell
from benchmarks.results import table
from distill.teach.example import TrainingExample, completion
from distill.train.batches import epoch_batches
from distill.train.encode import EncodedExample, Encoder, encode_examples
from distill.train.hyper import HyperParameters
from distill.train.job import DevSet, TrainingJob
from distill.train.loop import TrainingLoop
from distill.train.weights import attach, best_device, load_base, load_tokenizer
from promptstill import read_jsonl
from promptstill.engine.models import EMBEDDED, Model, find_model
from promptstill.engine.shape import CONTEXT_LIMIT
from promptstill.prompt.layouts.bare import bare_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt

QA = Path(__file__).parents[2] / "recipes" / "data" / "qa.jsonl"


def main() -> None:
    options = parse_options()
    print(section([{"result": compare(options.data, options.inputs, options.output, options.rows, options.turns)}]))


def run(fast: bool) -> None:
    rows, turns = (32, 2) if fast else (192, 3)
    make = partial(compare, str(QA), "context, question", "answer", rows, turns)
    cell("training", {"rows": rows, "turns": turns, "seed": 0}, make, folder=FAST if fast else RESULTS)


def compare(data: str, inputs: str, output: str, count: int, turns: int) -> dict[str, Any]:
    """Seconds of both loops, and what they trained on."""
    model = find_model(EMBEDDED, lambda line: print(line, file=sys.stderr))
    task = Task(dspy.Signature(f"{inputs} -> {output}"), model.name, max_tokens=16)
    rows, prompt = encode_rows(model, bare_prompt(task), Path(data), count)
    shuffled = random.Random(0).sample(rows, len(rows))
    parts = [shuffled[i::turns] for i in range(turns)]
    hyper = HyperParameters(batch=16)
    with tempfile.TemporaryDirectory() as folder:
        dev = DevSet([rows[0].prompt], prompt.decoding, lambda texts: 0.0)
        loop = TrainingLoop(TrainingJob(model, rows, dev, hyper, Path(folder)), lambda progress: None)
        loop.model.train()
        plain = PlainLoop(model, hyper)
        seconds = time_loops({"plain": plain.run, "ours": lambda part: run_ours(loop, part, hyper)}, parts, rows)
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return {"seconds": seconds, "rows": len(rows), "tokens": sum(row.length for row in rows), "where": where}


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=str(QA), help="rows as JSON lines")
    parser.add_argument("--inputs", default="context, question", help="input fields, by comma")
    parser.add_argument("--output", default="answer", help="the output field")
    parser.add_argument("--rows", type=int, default=192)
    parser.add_argument("--turns", type=int, default=3, help="how often the loops take turns")
    return parser.parse_args()


def encode_rows(model: Model, prompt: Prompt, path: Path, count: int) -> tuple[list[EncodedExample], Prompt]:
    """The first `count` rows of `path`, as distill trains on them."""
    names, [output] = [field.name for field in prompt.inputs], [field.name for field in prompt.outputs]
    examples = []
    for i, row in enumerate(read_jsonl(str(path))[:count]):
        inputs, outputs = {name: row[name] for name in names}, {output: row[output]}
        turns = prompt.messages(inputs)
        examples.append(
            TrainingExample(str(i), f"row {i}", inputs, outputs, turns, completion(prompt, outputs), source="gold")
        )
    return encode_examples(Encoder(load_tokenizer(model), prompt), examples, CONTEXT_LIMIT)[0], prompt


class PlainLoop:
    """The plain loop, on the same kind of model and adapter."""

    def __init__(self, model: Model, hyper: HyperParameters) -> None:
        self.hyper, self.device = hyper, best_device()
        self.model: Any = attach(load_base(model, hyper.precision, self.device), hyper).train()
        self.optimizer = torch.optim.AdamW([p for p in self.model.parameters() if p.requires_grad], lr=hyper.lr)

    def run(self, rows: Sequence[EncodedExample]) -> None:
        for at in range(0, len(rows), self.hyper.batch):
            batch = rows[at : at + self.hyper.batch]
            width = max(row.length for row in batch)
            ids = torch.tensor([[*row.ids, *[0] * (width - row.length)] for row in batch], device=self.device)
            mask = torch.tensor([[1] * row.length + [0] * (width - row.length) for row in batch], device=self.device)
            labels = ids.masked_fill(mask == 0, -100)
            for i, row in enumerate(batch):
                labels[i, : len(row.prompt)] = -100
            self.model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()


def run_ours(loop: TrainingLoop, rows: Sequence[EncodedExample], hyper: HyperParameters) -> None:
    for batch in epoch_batches(rows, hyper.batch, hyper.seed, 0):
        loop.step(batch)


def time_loops(
    loops: dict[str, Callable[[Sequence[EncodedExample]], None]],
    parts: list[list[EncodedExample]],
    rows: list[EncodedExample],
) -> dict[str, list[float]]:
    """Seconds of each loop on each part, taking turns, after one warm-up batch."""
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for run in loops.values():
        run(rows[:16])
    for part in parts:
        for name, run in loops.items():
            start = time.perf_counter()
            run(part)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def section(cells: list[dict[str, Any]]) -> str:
    got = cells[-1]["result"]
    tokens, seconds = got["tokens"], got["seconds"]
    rows = [[name, f"{sum(spent):.1f}", f"{tokens / sum(spent):,.0f}"] for name, spent in seconds.items()]
    ratios = [plain / ours for plain, ours in zip(seconds["plain"], seconds["ours"], strict=True)]
    return "\n".join([
        "## Training throughput",
        "",
        f"{got['rows']} rows, {tokens:,} real tokens ({tokens / got['rows']:.0f} a row), LoRA r=16, batch 16;"
        f" {got['where']}. Both loops take turns.",
        "",
        *table(["loop", "seconds", "real tokens a second"], rows),
        "",
        f"Ours is {sum(seconds['plain']) / sum(seconds['ours']):.2f} times as fast as the plain loop; by turn,"
        f" {min(ratios):.2f} to {max(ratios):.2f} times.",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
