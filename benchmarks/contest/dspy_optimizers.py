"""DSPy's optimizers as contestants: `dspy.Predict`, and what compiles it. Run in a process of its own.

    python -m benchmarks.contest.dspy_optimizers search JOB.json
    python -m benchmarks.contest.dspy_optimizers test JOB.json PROGRAM.json

Settings are those of DSPy's documentation for a light run, or a class's defaults. All of them ask through
`JSONAdapter`. The server is declared to DSPy as one that obeys JSON schemas (`register_provider`), so each request
carries the schema of the outputs, and a label outside of its `Literal` cannot come back. Without that declaration the
adapter would ask for any JSON object (`JSONAdapter._prepare_response_format`).
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
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
GOOD = 0.5  # the score of an answer that MIPROv2 may show as a demo
PROPOSAL_TOKENS = 256
LEAST_BATCH = 8  # rows of a step of SIMBA
SIMBA_SIZES = ((2, 3), (2, 2), (1, 3), (1, 2))  # steps and candidates: the first that leaves a batch that long
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
    """Notes every evaluation on dev rows by `add`, and none on train rows: GEPA reflects on a few, too few to count."""

    def __init__(self, add: Callable[[Program, list[float]], None], dev: set[int]) -> None:
        self.add, self.dev = add, dev
        self.running: dict[str, Any] = {}

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        rows = inputs.get("devset") or instance.devset
        if all(id(row) in self.dev for row in rows):
            self.running[call_id] = to_program(inputs["program"])

    def on_evaluate_end(self, call_id: str, outputs: Any | None, exception: BaseException | None = None) -> None:
        program = self.running.pop(call_id, None)
        if program is not None and outputs is not None:
            self.add(program, [as_score(score) for _, _, score in outputs.results])


def as_score(value: Any) -> float:
    return float(value.score if isinstance(value, dspy.Prediction) else value)


def to_program(program: Any) -> Program:
    """The program's state as JSON, without the traces that bootstrapping leaves."""
    return {"kind": "dspy", "state": {**program.dump_state(), "traces": [], "train": []}}


def to_lm(job: Job, max_tokens: int, temperature: float) -> dspy.LM:
    """The endpoint, declared as one that obeys schemas."""
    support = lm15.EndpointSupport(complete=True, stream=True, models=True)
    access = lm15.AccessPolicy(provider="bench", supports=support, auth_modes=("bearer",), base_url=job.base_url)
    compat = lm15.OpenAIChatCompat.preset("vllm")
    definition = lm15.ProviderDefinition.chat(access, compat=compat, placeholder_key="none")
    lm15.register_provider(definition, supports=lm15.ModelSupport(response_schema=True), replace=True)
    decoding: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens}
    return dspy.LM(f"bench/{job.model}", api_base=job.base_url, api_key="none", **decoding)


@dataclass(frozen=True)
class SimbaSteps:
    """SIMBA's sizes by its own names."""

    bsize: int
    num_candidates: int
    max_steps: int


def simba_steps(cap: int, rows: int) -> SimbaSteps:
    """Sizes of which SIMBA's calls come to at most `cap`, with `rows` to score its winners on.

    A step takes a batch of `bsize` rows once for each candidate, and once for each new program, of which there is one
    more; each new program may take a call for its rule. At the end the winner of each step and the program that it
    began with are scored on all rows.
    """
    for steps, candidates in SIMBA_SIZES:
        left = (cap - (steps + 1) * rows) // steps - (candidates + 1)
        batch = min(rows, left // (2 * candidates + 1))
        if batch >= LEAST_BATCH:
            break
    return SimbaSteps(max(1, batch), candidates, steps)


def to_example(row: Example) -> dspy.Example:
    return dspy.Example(**row.inputs, **row.outputs).with_inputs(*row.inputs)


def configure(job: Job, opened: OpenTask, callbacks: list[BaseCallback]) -> None:
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    model = to_lm(job, reply_tokens(opened.task), 0.0)
    # A reply that does not parse is an error to DSPy, and ten of them would end a run.
    common: dict[str, Any] = {"max_errors": 1_000_000, "num_threads": THREADS}
    dspy.configure(lm=model, adapter=dspy.JSONAdapter(), callbacks=callbacks, **common)


def compile_program(job: Job, metric: DspyMetric, train: list[dspy.Example], dev: list[dspy.Example]) -> Any:
    """The program that the job's optimizer returns."""
    student = dspy.Predict(metric.opened.task.signature)
    proposer = to_lm(job, PROPOSAL_TOKENS, 1.0)
    common: dict[str, Any] = {"num_threads": THREADS}
    if job.contestant == "bootstrap":
        return dspy.BootstrapFewShotWithRandomSearch(metric.score, **common).compile(
            student, trainset=train, valset=dev
        )
    if job.contestant == "simba":
        steps = asdict(simba_steps(job.cap, len(dev)))
        return dspy.SIMBA(metric=metric.score, **steps, **common).compile(student, trainset=dev, seed=job.seed)
    if job.contestant == "mipro":
        common |= {"prompt_model": proposer, "metric_threshold": GOOD, "seed": job.seed + 1}  # it reads 0 as unset
        return dspy.MIPROv2(metric.score, auto="light", **common).compile(student, trainset=train, valset=dev)
    common |= {"reflection_lm": proposer, "seed": job.seed, "add_format_failure_as_feedback": True}
    return dspy.GEPA(metric.feedback, max_metric_calls=100_000, **common).compile(student, trainset=train, valset=dev)


def search(job: Job) -> None:
    opened = job.files.open(job.model)
    train, dev = shuffled_train(job, opened), [to_example(row) for row in opened.splits.dev]
    notes = Notes(job, {})
    configure(job, opened, [Recorder(notes.add, {id(row) for row in dev})])
    notes.begin(to_program(dspy.Predict(opened.task.signature)))
    compiled = compile_program(job, DspyMetric(opened), train, dev)
    if job.contestant == "simba":  # it scores dev without an evaluation that could be watched
        for one in compiled.candidate_programs:
            notes.add(to_program(one["program"]), [one["score"]] * len(dev))
    notes.finish(to_program(compiled))


def shuffled_train(job: Job, opened: OpenTask) -> list[dspy.Example]:
    """Train in the order of the job's seed: some optimizers draw demos with a seed of their own, always the same."""
    train = [to_example(row) for row in opened.splits.train]
    random.Random(job.seed).shuffle(train)
    return train


def to_module(job: Job, opened: OpenTask, program: Program) -> Any:
    """The program ready to answer: of a stored state, or compiled here where that asks nothing."""
    student = dspy.Predict(opened.task.signature)
    if program["kind"] == "predict":
        return student
    if program["kind"] == "labeled":
        return dspy.LabeledFewShot(k=program["k"]).compile(student, trainset=shuffled_train(job, opened))
    if program["kind"] == "knn":
        train = [to_example(row) for row in opened.splits.train]
        vectorizer = tfidf_embedder(train)
        return dspy.KNNFewShot(program["k"], train, vectorizer, max_bootstrapped_demos=0).compile(student)
    student.load_state(program["state"])
    return student


def tfidf_embedder(train: list[dspy.Example]) -> dspy.Embedder:
    """TF-IDF vectors of length one, fitted on train as `dspy.KNN` writes its rows."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [" | ".join(f"{key}: {value}" for key, value in row.inputs().items()) for row in train]
    vectorizer = TfidfVectorizer().fit(texts)
    return dspy.Embedder(lambda batch: vectorizer.transform(batch).toarray(), batch_size=len(texts), caching=False)


def test(job: Job, program: Program) -> None:
    """The program on the test rows, each scored by the common scorer."""
    opened = job.files.open(job.model)
    configure(job, opened, [])
    ready = to_module(job, opened, program)
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
