"""promptolution's CAPO as a contestant, in a process of `.venv-bench`, which adds it to the project's packages.

    python -m benchmarks.contestant_capo search JOB.json
    python -m benchmarks.contestant_capo test JOB.json PROGRAM.json

It is built from its parts as its README shows. The first try reads answers between `<final_answer>` marks, the second
by `FirstOccurrencePredictor`, for models that do not set them. Its answer is one text: several outputs are beyond it.
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

from benchmarks.contestants import LIMIT_S, Job, Notes, Program, serve_verbs
from benchmarks.tasks import Marked, mark, reply_tokens
from optimizer.examples import Example
from optimizer.fields import as_text
from optimizer.files import write_jsonl
from optimizer.layouts import guide
from optimizer.prepare import Prepared

POPULATION = 5
PROPOSAL_TOKENS = 256
MARK_TOKENS = 32  # for the marks around an answer
BLOCK = 30  # rows of a block, by its default, or a third of dev
UNBOUNDED = 1_000  # steps; the cap ends it


class Noting:
    """Mixed into a task: notes each prompt's scores as they are bought."""

    notes: Notes
    attempt: int
    eval_cache: dict[tuple[str, str, str], float]

    def evaluate(self, prompts: Any, predictor: Any, *rest: Any, **options: Any) -> Any:
        before = set(self.eval_cache)
        result = super().evaluate(prompts, predictor, *rest, **options)  # type: ignore[misc]  # a mixin: the task has it
        bought: dict[str, list[float]] = {}
        for key in self.eval_cache.keys() - before:
            bought.setdefault(key[0], []).append(float(self.eval_cache[key]))
        for text, scores in bought.items():
            self.notes.add({"kind": "capo", "attempt": self.attempt, "prompt": text}, scores)
        return result


class NotedClasses(Noting, ClassificationTask):
    pass


class NotedReward(Noting, RewardTask):
    pass


def question(prepared: Prepared, row: Example) -> str:
    """A row's inputs as one text."""
    names = prepared.task.inputs
    return (
        as_text(row.inputs[names[0].name])
        if len(names) == 1
        else "\n".join(f"{field.label}: {as_text(row.inputs[field.name])}" for field in names)
    )


def frame(prepared: Prepared, rows: list[Example]) -> pd.DataFrame:
    name = prepared.task.outputs[0].name
    return pd.DataFrame({"x": [question(prepared, r) for r in rows], "y": [as_text(r.outputs[name]) for r in rows]})


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


def predictor(job: Job, prepared: Prepared) -> Any:
    choices = prepared.task.outputs[0].choices
    llm = model(job, reply_tokens(prepared.task) + MARK_TOKENS, temperature=0.0)
    return FirstOccurrencePredictor(llm, choices) if job.attempt and choices else MarkerBasedPredictor(llm)


def to_task(job: Job, prepared: Prepared, description: str) -> Any:
    dev = prepared.splits.dev
    options = {"task_description": description, "n_subsamples": min(BLOCK, max(1, len(dev) // 3)), "seed": job.seed}
    options |= {"eval_strategy": "sequential_block"}
    if prepared.task.outputs[0].choices:
        task: Any = NotedClasses(frame(prepared, dev), **options)
    else:
        rows = {question(prepared, row): row for row in dev}
        table = frame(prepared, dev).assign(asked=lambda t: t.x)

        def reward(said: str, asked: str) -> float:
            return marked(prepared, rows[asked], said).score

        task = NotedReward(table, reward, y_column="y", reward_columns=["asked"], **options)
    task.notes, task.attempt = Notes(job, {}), job.attempt
    return task


def marked(prepared: Prepared, row: Example, said: str) -> Marked:
    return mark(prepared, row, {prepared.task.outputs[0].name: said} if said else None)


def search(job: Job) -> None:
    prepared = job.field.prepared(job.model)
    random.seed(job.seed)
    np.random.seed(job.seed)
    description = guide(prepared.task, prepared.task.signature.instructions)
    first = [f"{description}\n{how}" for how in default_prompts[:POPULATION]]
    task = to_task(job, prepared, description)
    task.notes.begin({"kind": "capo", "attempt": job.attempt, "prompt": first[0]})
    capo = CAPO(
        predictor=predictor(job, prepared),
        task=task,
        meta_llm=model(job, PROPOSAL_TOKENS),
        initial_prompts=first,
        df_few_shots=frame(prepared, prepared.splits.train),
    )
    best = capo.optimize(UNBOUNDED)
    task.notes.finish({"kind": "capo", "attempt": job.attempt, "prompt": str(best[0])})


def test(job: Job, program: Program) -> None:
    """The prompt on the test rows, each marked by the common scorer."""
    prepared = job.field.prepared(job.model)
    rows = prepared.splits.test
    reader = predictor(job, prepared)
    said, _ = reader.predict([program["prompt"]] * len(rows), [question(prepared, row) for row in rows])
    answers = [vars(marked(prepared, row, one)) for row, one in zip(rows, said, strict=True)]
    write_jsonl(Path(job.folder) / "answers.jsonl", answers)


if __name__ == "__main__":
    serve_verbs(search, test)
