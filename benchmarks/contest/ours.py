"""Our own command as a contestant, and the baseline prompt. It searches with a file whose test holds one row.

The largest cap is reached step by step: at each cap the run ends by `--max-calls`, its winner is noted, and `--resume`
goes on from its stored calls. So a point costs as much as a run with that cap, and the whole curve as much as one run.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.contest.contestants import Ended, Job, Point, Program, watch
from benchmarks.contest.proxy import Proxy
from benchmarks.contest.tasks import RowScore, score_answer
from benchmarks.endpoint import score_uncached
from optimizer.run.folder import RunFolder
from optimizer.search.race import GENERATION
from promptstill.endpoint.endpoint import Endpoint
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.prompt import Prompt
from promptstill.task.open import OpenTask

Winner = tuple[Prompt, float]  # with its dev score
TRIALS = 1_000  # more than any cap pays for, so that the cap ends the search
STARTERS_ONLY = ("--trials", str(GENERATION))  # as many as stand ready before the first race, where all layouts work


def baseline_program(opened: OpenTask) -> Program:
    """The prompt that every search of ours starts from."""
    task = opened.task
    return to_program(build_prompt(task, "chat", task.signature.instructions))


def to_program(prompt: Prompt) -> Program:
    return {"kind": "prompt", "prompt": prompt.model_dump(mode="json")}


def search(job: Job, proxy: Proxy, caps: Sequence[int], options: Sequence[str] = ()) -> dict[str, Any]:
    """The winner at each cap, before which the baseline prompt stands; `options` of the command make a variant.

    The command must end at each cap by itself.
    """
    name = Path(job.folder).name
    account = proxy.open(name, cap=caps[-1])
    points = []
    for cap in caps:
        end = watch(command(job, proxy.base_url(name), cap, options), account, Path(job.folder) / "log")
        if end.error or end.stopped:
            raise RuntimeError(f"{name} did not end by itself at {cap} calls: {end.error or end.stopped}")
        best = winner(job)
        program, dev = (to_program(best[0]), best[1]) if best else (baseline_program(job.files.open(job.model)), None)
        spent = {**vars(account.spent), "seconds": round(account.now().seconds, 1)}
        points.append(Point(cap, **spent, dev=dev, program=program, ended=end_at_cap(job)).to_json())
    return {"points": points, "failed": ""}


def end_at_cap(job: Job) -> Ended:
    """Whether the search tried all its trials, or its calls were used up."""
    search = RunFolder(run_path(job)).record.get("search") or {"stopped": "calls"}
    return "calls" if search["stopped"] else "itself"


def command(job: Job, base_url: str, cap: int, options: Sequence[str]) -> list[str]:
    folder = Path(job.folder)
    argv = [sys.executable, "-m", "optimizer", "--max-calls", str(cap), "--base-url", base_url]
    argv += ["-o", str(folder / "best.json"), "--no-rivals"]  # they are contestants of their own
    if (folder / "runs").is_dir():
        return [*argv, "--resume", str(run_path(job))]
    argv += [job.recipe, "-p", f"data={job.files.search_path}", "--runs", str(folder / "runs")]
    return [*argv, "--model", job.model, "--seed", str(job.seed), "--trials", str(TRIALS), *options]


def run_path(job: Job) -> Path:
    return next((Path(job.folder) / "runs").iterdir())


def winner(job: Job) -> Winner | None:
    """The search's winner, whether or not it was shipped by its one test row; None where the cap left none."""
    run = RunFolder(run_path(job))
    if not run.best_path.is_file():
        return None
    artifact = json.loads(run.best_path.read_text(encoding="utf-8"))
    return run.prompts()["winner"], float(artifact["scores"]["dev"]["winner"]["mean"])


def score_test(opened: OpenTask, program: Program, base_url: str) -> list[RowScore]:
    """The prompt on the test rows, each scored by the common scorer."""
    prompt, endpoint = Prompt.model_validate(program["prompt"]), Endpoint(base_url, "contest")
    results = asyncio.run(score_uncached(prompt, opened.splits.test, opened.recipe.metric, endpoint))
    return [score_answer(opened, one.example, one.outputs) for one in results]
