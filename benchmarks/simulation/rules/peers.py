"""DSPy's own optimizers in a world of rules, in this process, by DSPy's default adapter."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from typing import Any, Literal

import dspy

from benchmarks.contest.contestants import Candidate, Program, best_so_far
from benchmarks.contest.dspy_optimizers import Recorder, SimbaSteps, to_program
from benchmarks.simulation.rules.contestants import Case, Point, open_world, to_point
from benchmarks.simulation.rules.endpoint import MODEL, PROPOSER, RulesEndpoint
from benchmarks.simulation.rules.recipe import LabelNote, Metric
from benchmarks.simulation.rules.reply_form import request_text
from benchmarks.simulation.rules.world import Row, RulesWorld, request_texts
from promptstill.files import digest

REPLY_TOKENS, INSTRUCTION_TOKENS = 64, 4_000
LIGHT_TO, MEDIUM_TO = 500, 1_000  # calls: MIPROv2's light and medium runs end near these
CANDIDATES, STEPS, LEAST_BATCH = 4, 8, 16  # of SIMBA: programs a step; the most steps, its default; rows of a step


class CapReached(BaseException):
    """The endpoint has refused a call. No `Exception`: the optimizers count one as a failed row, and go on."""


class Notes:
    """The programs that were scored on dev rows, each with its mean over all rows so far and the calls by then."""

    def __init__(self, endpoint: RulesEndpoint, first: Program) -> None:
        self.endpoint, self.sums = endpoint, dict[str, tuple[float, int]]()
        self.found = [Candidate(first, 0.0, 0, 0)]

    def add(self, program: Program, scores: Sequence[float]) -> None:
        total, rows = self.sums.get(digest(program), (0.0, 0))
        total, rows = total + sum(scores), rows + len(scores)
        self.sums[digest(program)] = (total, rows)
        self.found.append(Candidate(program, total / rows, rows, self.endpoint.spent))


class Watch(Recorder):
    """Stops the search at the first call that is refused."""

    def __init__(self, notes: Notes, dev: set[int]) -> None:
        super().__init__(notes.add, dev)
        self.endpoint = notes.endpoint

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        if self.endpoint.refused:
            raise CapReached from exception


def search_peer(case: Case, caps: Sequence[int]) -> list[Point]:
    """A peer's point at each cap."""
    return [point for part in searches(case.contestant, caps) for point in one_search(case, part)]


def searches(peer: str, caps: Sequence[int]) -> list[list[int]]:
    """The caps of each search: a peer whose sizes go by the cap has several."""
    return [list(caps)] if peer == "gepa" else [[cap] for cap in caps]


def one_search(case: Case, caps: Sequence[int]) -> list[Point]:
    """A search to the last of these caps: what it returned where it ended by itself, else its best on dev so far."""
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    with open_world(case, caps[-1]) as endpoint:
        world = endpoint.world
        train, dev = [to_example(row) for row in world.train], [to_example(row) for row in world.dev]
        random.Random(world.spec.seed).shuffle(train)
        notes = Notes(endpoint, to_program(dspy.Predict(LabelNote)))
        watch = Watch(notes, {id(row) for row in dev})
        common: dict[str, Any] = {"num_threads": 1, "max_errors": 1_000_000, "disable_history": True}
        models = {"lm": to_lm(endpoint, MODEL), "adapter": dspy.ChatAdapter(), "callbacks": [watch]}
        final: Program | None = None
        with contextlib.suppress(CapReached), dspy.context(**models, **common):
            final = to_program(compile_program(case.contestant, endpoint, caps[-1], train, dev))
        return [read_point(notes, cap, final) for cap in caps]


def read_point(notes: Notes, cap: int, final: Program | None) -> Point:
    """What a peer has at a cap."""
    spent = notes.endpoint.spent
    ended = final is not None and spent <= cap
    best = best_so_far(notes.found, cap)
    program = final if ended else best.program if best else None
    assert program is not None
    texts = program_texts(notes.endpoint.world, program)
    return to_point(notes.endpoint, cap, texts, min(spent, cap), ended=ended)


def program_texts(world: RulesWorld, program: Program) -> list[str]:
    """What a program asks for each held-out row."""
    predictor = dspy.Predict(LabelNote)
    predictor.load_state(program["state"])

    def render(text: str) -> str:
        messages = dspy.ChatAdapter().format(predictor.signature, predictor.demos, {"text": text})
        return request_text({"messages": messages})

    return request_texts(world, render)


def to_example(row: Row) -> dspy.Example:
    return dspy.Example(text=row.text, label=row.label).with_inputs("text")


def to_lm(endpoint: RulesEndpoint, model: str) -> dspy.LM:
    sampled = model == PROPOSER
    options: dict[str, Any] = {"temperature": 1.0, "max_tokens": INSTRUCTION_TOKENS} if sampled else {}
    options = options or {"temperature": 0.0, "max_tokens": REPLY_TOKENS}
    return dspy.LM(f"openai/{model}", api_base=endpoint.base_url, api_key="none", num_retries=0, **options)


def compile_program(
    peer: str, endpoint: RulesEndpoint, cap: int, train: list[dspy.Example], dev: list[dspy.Example]
) -> Any:
    """The program that the optimizer returns."""
    student, proposer, seed = dspy.Predict(LabelNote), to_lm(endpoint, PROPOSER), endpoint.world.spec.seed
    metric = Metric(endpoint.world)

    def score(gold: dspy.Example, reply: Any, trace: object = None) -> float:
        return metric(gold, reply)[0]

    def with_feedback(
        gold: dspy.Example, reply: Any, trace: object = None, name: object = None, part: object = None
    ) -> Any:
        value, feedback = metric(gold, reply)
        return dspy.Prediction(score=value, feedback=feedback)

    if peer == "simba":
        sizes = vars(simba_sizes(cap, len(dev)))
        simba = dspy.SIMBA(metric=with_feedback, prompt_model=proposer, num_threads=1, **sizes)
        return simba.compile(student, trainset=dev, seed=seed)
    if peer == "mipro":
        mipro = dspy.MIPROv2(score, auto=mipro_run(cap), prompt_model=proposer, num_threads=1, seed=seed)
        return mipro.compile(student, trainset=train, valset=dev)
    # Its own limit is only for replies that DSPy has in memory, which are no calls.
    gepa = dspy.GEPA(with_feedback, max_metric_calls=3 * cap, reflection_lm=proposer, num_threads=1, seed=seed)
    return gepa.compile(student, trainset=train, valset=dev)


def mipro_run(cap: int) -> Literal["light", "medium", "heavy"]:
    """The largest of MIPROv2's runs that has about its end within `cap` calls."""
    return "light" if cap <= LIGHT_TO else "medium" if cap <= MEDIUM_TO else "heavy"


def simba_sizes(cap: int, rows: int) -> SimbaSteps:
    """The most steps of a batch of `LEAST_BATCH` rows that end within `cap` calls, or one; the largest such batch.

    A step takes its batch once for each candidate and once for each new program, of which there is one more, and a
    call for each rule. At the end so many programs are scored on all `rows`, or one more than there were steps.
    """
    for steps in range(STEPS, 0, -1):
        left = cap - min(steps + 1, CANDIDATES + 1) * rows
        batch = min(rows, (left // steps - CANDIDATES - 1) // (2 * CANDIDATES + 1))
        if batch >= LEAST_BATCH:
            break
    return SimbaSteps(max(1, batch), CANDIDATES, steps)
