"""Our own command as a contestant, and the seed prompt. It searches with a file whose test holds one row.

The largest cap is reached step by step: at each cap the run ends by `--max-calls`, its winner is kept, and `--resume`
goes on from its stored calls. So a point costs what a run with that cap costs, and the curve one run.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.contestants import Job, Point, Program, watch
from benchmarks.proxy import Proxy
from benchmarks.tasks import Marked, mark
from optimizer.budget import Budget, Meter
from optimizer.calls import SqliteCalls
from optimizer.client import Client, Endpoint
from optimizer.evaluate import score_rows
from optimizer.layouts import build
from optimizer.prepare import Prepared
from optimizer.prompt import Prompt
from optimizer.run import RunFolder

Won = tuple[Prompt, float]  # the winner and its dev score
TRIALS = 1_000  # more than any cap pays for: the calls end the search


def seed_program(prepared: Prepared) -> Program:
    """The prompt that every search of ours starts from."""
    task = prepared.task
    return to_program(build(task, "chat", task.signature.instructions))


def to_program(prompt: Prompt) -> Program:
    return {"kind": "prompt", "prompt": prompt.model_dump(mode="json")}


def search(job: Job, proxy: Proxy, caps: Sequence[int], options: Sequence[str] = ()) -> dict[str, Any]:
    """The winner at each cap; `options` of the command make a variant."""
    return step_by_step(job, proxy, caps, lambda url, cap: command(job, url, cap, options), lambda: winner(job))


def step_by_step(
    job: Job,
    proxy: Proxy,
    caps: Sequence[int],
    command: Callable[[str, int], list[str]],
    winner: Callable[[], Won | None],
) -> dict[str, Any]:
    """Run a command to each cap in turn; it must end there by itself. Without a winner yet the seed prompt stands."""
    name = Path(job.folder).name
    account = proxy.open(name, cap=caps[-1])
    made = []
    for cap in caps:
        ended = watch(command(proxy.base_url(name), cap), account, Path(job.folder) / "log")
        if ended.error or ended.stopped:
            raise RuntimeError(f"{name} did not end by itself at {cap} calls: {ended.error or ended.stopped}")
        won = winner()
        program, dev = (to_program(won[0]), won[1]) if won else (seed_program(job.field.prepared(job.model)), None)
        spent = {**vars(account.spent), "seconds": round(account.now().seconds, 1)}
        made.append(Point(cap, **spent, dev=dev, program=program).to_json())
    return {"points": made, "failed": ""}


def command(job: Job, base_url: str, cap: int, options: Sequence[str]) -> list[str]:
    folder = Path(job.folder)
    argv = [sys.executable, "-m", "optimizer", "--max-calls", str(cap), "--base-url", base_url]
    argv += ["-o", str(folder / "best.json")]
    if (folder / "runs").is_dir():
        return [*argv, "--resume", str(run_path(job))]
    argv += [job.recipe, "-p", f"data={job.field.search_path}", "--runs", str(folder / "runs")]
    return [*argv, "--model", job.model, "--seed", str(job.seed), "--trials", str(TRIALS), *options]


def run_path(job: Job) -> Path:
    return next((Path(job.folder) / "runs").iterdir())


def winner(job: Job) -> Won | None:
    """The search's winner, whether or not its one test row let it be shipped; None where the cap left none."""
    run = RunFolder(run_path(job))
    if not run.best_path.is_file():
        return None
    artifact = json.loads(run.best_path.read_text(encoding="utf-8"))
    return run.prompts()["winner"], float(artifact["scores"]["dev"]["winner"]["mean"])


def test(prepared: Prepared, program: Program, base_url: str) -> list[Marked]:
    """The prompt on the test rows, each marked by the common scorer."""
    prompt = Prompt.model_validate(program["prompt"])
    results = asyncio.run(ask(prepared, prompt, base_url))
    return [mark(prepared, one.example, one.outputs) for one in results]


async def ask(prepared: Prepared, prompt: Prompt, base_url: str) -> list[Any]:
    recipe = prepared.loaded.recipe
    with closing(SqliteCalls(Path(":memory:"))) as store:
        async with Client(Endpoint(base_url, "contest"), store, Meter(Budget(), {})) as client:
            return await score_rows(prompt, prepared.splits.test, recipe.metric, client)
