"""promptolution's CAPO as a contestant, in a process of `.venv-bench`, which adds it to the project's packages.

    python -m benchmarks.contest.capo search JOB.json
    python -m benchmarks.contest.capo test JOB.json PROGRAM.json

It is built from its parts as its README shows. Where the answer is one of a closed set, the server may return nothing
else (`structured_outputs`), and `FirstOccurrencePredictor` reads it; others stand between `<final_answer>` marks.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from promptolution.llms import APILLM
from promptolution.optimizers import CAPO
from promptolution.predictors import FirstOccurrencePredictor, MarkerBasedPredictor
from promptolution.tasks import ClassificationTask, RewardTask
from promptolution.utils.templates import default_prompts

from benchmarks.contest.contestants import LIMIT_S, Job, Notes, Program, run_verb
from benchmarks.contest.tasks import RowScore, reply_tokens, score_answer
from promptstill.files import write_jsonl
from promptstill.prompt.fields import as_text
from promptstill.prompt.layouts.parts import instruction_text
from promptstill.task.examples import Example
from promptstill.task.open import OpenTask

POPULATION = 5
PROPOSAL_TOKENS = 256
MARK_TOKENS = 32  # for the marks around an answer
BLOCK = 30  # rows of a block: its default, or a third of dev where that is less
MAX_STEPS = 1_000  # more than any cap pays for


class NotesScores:
    """Mixed into a task: notes each prompt's scores when they are evaluated."""

    notes: Notes
    eval_cache: dict[tuple[str, str, str], float]

    def evaluate(self, prompts: Any, predictor: Any, *rest: Any, **options: Any) -> Any:
        before = set(self.eval_cache)
        result = super().evaluate(prompts, predictor, *rest, **options)  # type: ignore[misc]  # a mixin: the task has it
        new_scores: dict[str, list[float]] = {}
        for key in self.eval_cache.keys() - before:
            new_scores.setdefault(key[0], []).append(float(self.eval_cache[key]))
        for text, scores in new_scores.items():
            self.notes.add({"kind": "capo", "prompt": text}, scores)
        return result


class ClassificationWithNotes(NotesScores, ClassificationTask):
    pass


class RewardWithNotes(NotesScores, RewardTask):
    pass


def question(opened: OpenTask, row: Example) -> str:
    """A row's inputs as one text."""
    names = opened.task.inputs
    return (
        as_text(row.inputs[names[0].name])
        if len(names) == 1
        else "\n".join(f"{field.label}: {as_text(row.inputs[field.name])}" for field in names)
    )


def frame(opened: OpenTask, rows: list[Example]) -> pd.DataFrame:
    name = opened.task.outputs[0].name
    return pd.DataFrame({"x": [question(opened, r) for r in rows], "y": [as_text(r.outputs[name]) for r in rows]})


def model(job: Job, max_tokens: int, **decoding: Any) -> APILLM:
    return APILLM(
        api_url=job.base_url,
        model_id=job.model,
        api_key="none",
        max_tokens=max_tokens,
        max_retries=1,
        call_timeout_s=LIMIT_S,  # a busy endpoint is slow, not broken
        gather_timeout_s=LIMIT_S,
        call_kwargs=decoding,
    )


def predictor(job: Job, opened: OpenTask) -> Any:
    tokens = reply_tokens(opened.task) + MARK_TOKENS
    if not (choices := opened.task.outputs[0].choices):
        return MarkerBasedPredictor(model(job, tokens, temperature=0.0))
    constrained = {"structured_outputs": {"choice": list(choices)}}
    return FirstOccurrencePredictor(model(job, tokens, temperature=0.0, extra_body=constrained), list(choices))


def to_task(job: Job, opened: OpenTask, description: str) -> Any:
    dev = opened.splits.dev
    options = {"task_description": description, "n_subsamples": min(BLOCK, max(1, len(dev) // 3)), "seed": job.seed}
    options |= {"eval_strategy": "sequential_block"}
    if opened.task.outputs[0].choices:
        task: Any = ClassificationWithNotes(frame(opened, dev), **options)
    else:
        rows = {question(opened, row): row for row in dev}
        table = frame(opened, dev).assign(asked=lambda t: t.x)

        def reward(reply: str, asked: str) -> float:
            return score_reply(opened, rows[asked], reply).score

        task = RewardWithNotes(table, reward, y_column="y", reward_columns=["asked"], **options)
    task.notes = Notes(job, {})
    return task


def score_reply(opened: OpenTask, row: Example, reply: str) -> RowScore:
    return score_answer(opened, row, {opened.task.outputs[0].name: reply} if reply else None)


def search(job: Job) -> None:
    opened = job.files.open(job.model)
    random.seed(job.seed)
    np.random.seed(job.seed)
    description = instruction_text(opened.task, opened.task.signature.instructions)
    first = [f"{description}\n{how}" for how in default_prompts[:POPULATION]]
    task = to_task(job, opened, description)
    task.notes.begin({"kind": "capo", "prompt": first[0]})
    capo = CAPO(
        predictor=predictor(job, opened),
        task=task,
        meta_llm=model(job, PROPOSAL_TOKENS),
        initial_prompts=first,
        df_few_shots=frame(opened, opened.splits.train),
    )
    best = capo.optimize(MAX_STEPS)
    task.notes.finish({"kind": "capo", "prompt": str(best[0])})


def test(job: Job, program: Program) -> None:
    """The prompt on the test rows, each scored by the common scorer."""
    opened = job.files.open(job.model)
    rows = opened.splits.test
    reader = predictor(job, opened)
    replies, _ = reader.predict([program["prompt"]] * len(rows), [question(opened, row) for row in rows])
    scores = [vars(score_reply(opened, row, one)) for row, one in zip(rows, replies, strict=True)]
    write_jsonl(Path(job.folder) / "scores.jsonl", scores)


if __name__ == "__main__":
    run_verb(search, test)
