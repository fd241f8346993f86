"""DSPy's optimizers as contestants: `dspy.Predict`, and what compiles it. Run in a process of its own.

    python -m benchmarks.contestants_dspy search JOB.json
    python -m benchmarks.contestants_dspy test JOB.json PROGRAM.json

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

from benchmarks.contestants import Job, Notes, Program, serve_verbs
from benchmarks.tasks import Marked, mark, reply_tokens
from optimizer.examples import Example
from optimizer.fields import as_text
from optimizer.files import canonical, write_jsonl
from optimizer.prepare import Prepared

THREADS = 32
GOOD = 0.5  # a bootstrapped demo must score so much
PROPOSAL_TOKENS = 256
SCHEMA_TRY = 1
Metric = Callable[..., Any]


class Judge:
    """The task's metric as DSPy calls it; rows are found again by their inputs."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        splits = prepared.splits
        self.rows = {canonical(ex.inputs): ex for ex in [*splits.train, *splits.dev, *splits.test]}

    def row(self, gold: dspy.Example) -> Example:
        return self.rows[canonical({field.name: gold[field.name] for field in self.prepared.task.inputs})]

    def mark(self, row: Example, said: Any) -> Marked:
        return mark(self.prepared, row, {field.name: said.get(field.name) for field in self.prepared.task.outputs})

    def score(self, gold: dspy.Example, said: Any, trace: object = None) -> float:
        return self.mark(self.row(gold), said).score

    def feedback(
        self, gold: dspy.Example, said: Any, trace: object = None, name: object = None, part: object = None
    ) -> Any:
        """As GEPA wants it: the score, and in words what would have been right."""
        row = self.row(gold)
        score = self.mark(row, said).score
        right = ", ".join(f"{key}: {as_text(value)}" for key, value in row.outputs.items())
        return dspy.Prediction(score=score, feedback=f"Score {score:.2f}. The right answer is {right}.")


class Recorder(BaseCallback):
    """Notes every evaluation on dev rows; those on a few train rows, as GEPA reflects on, are too small to count."""

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


def language_model(job: Job, max_tokens: int, temperature: float) -> dspy.LM:
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


def configure(job: Job, prepared: Prepared, callbacks: list[BaseCallback]) -> None:
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    adapter = dspy.JSONAdapter() if job.attempt >= SCHEMA_TRY else None
    model = language_model(job, reply_tokens(prepared.task), 0.0)
    # A reply that does not parse is an error to DSPy, and ten of them would end a run.
    dspy.configure(lm=model, adapter=adapter, callbacks=callbacks, max_errors=1_000_000, num_threads=THREADS)


def compiled(job: Job, judge: Judge, train: list[dspy.Example], dev: list[dspy.Example]) -> Any:
    """The program that the job's optimizer returns."""
    student = dspy.Predict(judge.prepared.task.signature)
    proposer = language_model(job, PROPOSAL_TOKENS, 1.0)
    common: dict[str, Any] = {"num_threads": THREADS}
    if job.contestant == "bootstrap":
        few = {"max_bootstrapped_demos": 4, "max_labeled_demos": 4, "num_candidate_programs": 10}
        search = dspy.BootstrapFewShotWithRandomSearch(judge.score, metric_threshold=GOOD, **few, **common)
        return search.compile(student, trainset=train, valset=dev)
    if job.contestant == "mipro":
        common |= {"prompt_model": proposer, "metric_threshold": GOOD, "seed": job.seed + 1}  # it reads 0 as unset
        return dspy.MIPROv2(judge.score, auto="light", **common).compile(student, trainset=train, valset=dev)
    common |= {"reflection_lm": proposer, "seed": job.seed, "add_format_failure_as_feedback": True}
    return dspy.GEPA(judge.feedback, max_metric_calls=100_000, **common).compile(student, trainset=train, valset=dev)


def search(job: Job) -> None:
    prepared = job.field.prepared(job.model)
    train, dev = [to_example(row) for row in prepared.splits.train], [to_example(row) for row in prepared.splits.dev]
    random.Random(job.seed).shuffle(train)  # the bootstrap's own seeds are fixed: the order is its one chance
    notes = Notes(job, {})
    configure(job, prepared, [Recorder(notes, {id(row) for row in dev}, job.attempt)])
    notes.begin(to_program(dspy.Predict(prepared.task.signature), job.attempt))
    notes.finish(to_program(compiled(job, Judge(prepared), train, dev), job.attempt))


def test(job: Job, program: Program | None) -> None:
    """Run the program on the test rows, each marked by the common scorer."""
    prepared = job.field.prepared(job.model)
    configure(job, prepared, [])
    ready = dspy.Predict(prepared.task.signature)
    if program:
        ready.load_state(program["state"])
    judge = Judge(prepared)

    def answer(row: Example) -> Marked:
        try:
            return judge.mark(row, ready(**row.inputs))
        except Exception as error:  # DSPy has no one error for a reply that it cannot read
            print(f"{type(error).__name__} on {row.where}", file=sys.stderr)
            return Marked(0.0, True)

    with ThreadPoolExecutor(THREADS) as pool:
        write_jsonl(Path(job.folder) / "answers.jsonl", [vars(one) for one in pool.map(answer, prepared.splits.test)])


if __name__ == "__main__":
    serve_verbs(search, test)
