"""DSPy's optimizers as contestants: `dspy.Predict`, and what compiles it. Run in a process of its own.

    python -m benchmarks.contest.dspy_optimizers search JOB.json
    python -m benchmarks.contest.dspy_optimizers test JOB.json PROGRAM.json

Settings are those of DSPy's documentation for a light run. The first try is the plain one for an OpenAI-compatible
server; the second declares to DSPy that the server obeys JSON schemas (`register_provider`), and uses `JSONAdapter`,
which its documentation names for models whose replies do not parse.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dspy
from dspy import lm15
from dspy.utils.callback import BaseCallback

from benchmarks.contest.contestants import Job, Notes, Program, run_verb
from benchmarks.contest.tasks import RowScore, reply_tokens, score_answer
from promptstill.files import canonical_json, write_jsonl
from promptstill.prompt.fields import as_text
from promptstill.task.examples import Example
from promptstill.task.open import OpenTask

THREADS = 32
GOOD = 0.5  # the score that a bootstrapped demo must have
PROPOSAL_TOKENS = 256
SCHEMA_TRY = 1
Metric = Callable[..., Any]


class DspyMetric:
    """The task's metric as DSPy calls it; rows are found by their inputs."""

    def __init__(self, opened: OpenTask) -> None:
        self.opened = opened
        splits = opened.splits
        self.rows = {canonical_json(ex.inputs): ex for ex in [*splits.train, *splits.dev, *splits.test]}

    def row(self, gold: dspy.Example) -> Example:
        return self.rows[canonical_json({field.name: gold[field.name] for field in self.opened.task.inputs})]

    def score_row(self, row: Example, reply: Any) -> RowScore:
        return score_answer(self.opened, row, {field.name: reply.get(field.name) for field in self.opened.task.outputs})

    def score(self, gold: dspy.Example, reply: Any, trace: object = None) -> float:
        return self.score_row(self.row(gold), reply).score

    def feedback(
        self, gold: dspy.Example, reply: Any, trace: object = None, name: object = None, part: object = None
    ) -> Any:
        """As GEPA takes it: the score, and the right answer in words."""
        row = self.row(gold)
        score = self.score_row(row, reply).score
        right = ", ".join(f"{key}: {as_text(value)}" for key, value in row.outputs.items())
        return dspy.Prediction(score=score, feedback=f"Score {score:.2f}. The right answer is {right}.")


class Recorder(BaseCallback):
    """Notes every evaluation on dev rows, and none on train rows: GEPA reflects on a few of them, too few to count."""

    def __init__(self, notes: Notes, dev: set[int], attempt: int) -> None:
        self.notes, self.dev, self.attempt = notes, dev, attempt
        self.running: dict[str, Any] = {}

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        rows = inputs.get("devset") or instance.devset
        if all(id(row) in self.dev for row in rows):
            self.running[call_id] = to_program(inputs["program"], self.attempt)

    def on_evaluate_end(self, call_id: str, outputs: Any | None, exception: BaseException | None = None) -> None:
        program = self.running.pop(call_id, None)
        if program is not None and outputs is not None:
            self.notes.add(program, [as_score(score) for _, _, score in outputs.results])


def as_score(value: Any) -> float:
    return float(value.score if isinstance(value, dspy.Prediction) else value)


def to_program(program: Any, attempt: int) -> Program:
    """The program's state as JSON, without the traces that bootstrapping leaves."""
    state = program.dump_state()
    return {"kind": "dspy", "attempt": attempt, "state": {**state, "traces": [], "train": []}}


def to_lm(job: Job, max_tokens: int, temperature: float) -> dspy.LM:
    """The endpoint as DSPy's documentation says, or on the second try as a declared server that obeys schemas."""
    name = f"openai/{job.model}"
    if job.attempt >= SCHEMA_TRY:
        support = lm15.EndpointSupport(complete=True, stream=True, models=True)
        access = lm15.AccessPolicy(provider="bench", supports=support, auth_modes=("bearer",), base_url=job.base_url)
        compat = lm15.OpenAIChatCompat.preset("vllm")
        definition = lm15.ProviderDefinition.chat(access, compat=compat, placeholder_key="none")
        lm15.register_provider(definition, supports=lm15.ModelSupport(response_schema=True), replace=True)
        name = f"bench/{job.model}"
    return dspy.LM(name, api_base=job.base_url, api_key="none", temperature=temperature, max_tokens=max_tokens)


def to_example(row: Example) -> dspy.Example:
    return dspy.Example(**row.inputs, **row.outputs).with_inputs(*row.inputs)


def configure(job: Job, opened: OpenTask, callbacks: list[BaseCallback]) -> None:
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    adapter = dspy.JSONAdapter() if job.attempt >= SCHEMA_TRY else None
    model = to_lm(job, reply_tokens(opened.task), 0.0)
    # A reply that does not parse is an error to DSPy, and ten of them would end a run.
    dspy.configure(lm=model, adapter=adapter, callbacks=callbacks, max_errors=1_000_000, num_threads=THREADS)


def compile_program(job: Job, metric: DspyMetric, train: list[dspy.Example], dev: list[dspy.Example]) -> Any:
    """The program that the job's optimizer returns."""
    student = dspy.Predict(metric.opened.task.signature)
    proposer = to_lm(job, PROPOSAL_TOKENS, 1.0)
    common: dict[str, Any] = {"num_threads": THREADS}
    if job.contestant == "bootstrap":
        few = {"max_bootstrapped_demos": 4, "max_labeled_demos": 4, "num_candidate_programs": 10}
        search = dspy.BootstrapFewShotWithRandomSearch(metric.score, metric_threshold=GOOD, **few, **common)
        return search.compile(student, trainset=train, valset=dev)
    if job.contestant == "mipro":
        common |= {"prompt_model": proposer, "metric_threshold": GOOD, "seed": job.seed + 1}  # it reads 0 as unset
        return dspy.MIPROv2(metric.score, auto="light", **common).compile(student, trainset=train, valset=dev)
    common |= {"reflection_lm": proposer, "seed": job.seed, "add_format_failure_as_feedback": True}
    return dspy.GEPA(metric.feedback, max_metric_calls=100_000, **common).compile(student, trainset=train, valset=dev)


def search(job: Job) -> None:
    opened = job.files.open(job.model)
    train, dev = [to_example(row) for row in opened.splits.train], [to_example(row) for row in opened.splits.dev]
    random.Random(job.seed).shuffle(train)  # the bootstrap's own seeds are fixed, so only the order differs
    notes = Notes(job, {})
    configure(job, opened, [Recorder(notes, {id(row) for row in dev}, job.attempt)])
    notes.begin(to_program(dspy.Predict(opened.task.signature), job.attempt))
    notes.finish(to_program(compile_program(job, DspyMetric(opened), train, dev), job.attempt))


def test(job: Job, program: Program | None) -> None:
    """The program on the test rows, each scored by the common scorer."""
    opened = job.files.open(job.model)
    configure(job, opened, [])
    ready = dspy.Predict(opened.task.signature)
    if program:
        ready.load_state(program["state"])
    metric = DspyMetric(opened)

    def score(row: Example) -> RowScore:
        try:
            return metric.score_row(row, ready(**row.inputs))
        except Exception as error:  # DSPy has no one error for a reply that it cannot read
            print(f"{type(error).__name__} on {row.location}", file=sys.stderr)
            return RowScore(0.0, True)

    with ThreadPoolExecutor(THREADS) as pool:
        write_jsonl(Path(job.folder) / "scores.jsonl", [vars(one) for one in pool.map(score, opened.splits.test)])


if __name__ == "__main__":
    run_verb(search, test)
