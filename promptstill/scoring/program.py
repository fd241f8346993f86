"""Runs a DSPy program on a row with a prompt in place of one of its predictors.

The prompt is rendered and its reply parsed as everywhere; the other predictors stay as they are, and ask the same model
through the same client, so that every call is stored, counted and limited. Where the program raises, its row scores
zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import dspy
from dspy.dsp.utils.settings import settings
from pydantic import TypeAdapter

from promptstill.endpoint.client import Client
from promptstill.endpoint.store import Completion
from promptstill.errors import ReplyError, UserError
from promptstill.events import Say
from promptstill.files import canonical_json
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.answer import ModelAnswer, Part, Problem, answer
from promptstill.scoring.dspy_engine import ClientEngine
from promptstill.scoring.evaluate import ScoredRow, best_answers, gather_or_cancel, score_row
from promptstill.task.examples import Example
from promptstill.task.open import OpenTask, limit_replies
from promptstill.task.program import Program, find_predictor, to_json
from promptstill.task.recipe import Metric
from promptstill.text import plural

RECORDED_ROWS = 256  # of train, on which a program is run before its predictor is searched
FROZEN_TOKENS = 512  # of a reply to another predictor, where that names no limit
RUN = "promptstill_run"  # the key in DSPy's settings, which it hands to threads of its own


@dataclass
class ProgramRun:
    """One run of a program.

    part: what the prompt was asked and answered last. problem: why an answer of it could not be used, as the last did
    not; None where all could. cut: whether a reply to it ended at max_tokens; others have limits of their own.
    """

    prompt: Prompt
    engine: ClientEngine
    part: Part | None = None
    problem: tuple[Problem | None, str] | None = None
    cut: bool = False

    def predict(self, signature: Any, values: Mapping[str, Any]) -> Any:
        """The prediction of the predictor whose place the prompt takes; its outputs have the signature's types."""
        inputs = {name: to_json(info, values[name]) for name, info in signature.input_fields.items() if name in values}
        engine = self.engine
        given = engine.wait(answer(self.prompt, inputs, engine.client, engine.role))
        engine.completions.append(given.completion)
        self.part, self.cut = Part(inputs, given.outputs), self.cut or given.cut
        if given.outputs is None:
            self.problem = given.problem, given.detail
            raise ReplyError(given.detail)
        fields, outputs = signature.output_fields, given.outputs
        typed = {name: TypeAdapter(fields[name].annotation).validate_python(outputs[name]) for name in fields}
        return dspy.Prediction(**typed)


@lru_cache(maxsize=8)
def open_seam(program: Program) -> Any:
    """A copy of the program whose predictors ask whatever model is set, and the searched one the run that is set."""
    module = program.module.deepcopy()
    for _, predictor in module.named_sub_modules(dspy.Predict):
        predictor.lm = None
    _, predictor = find_predictor(module, program.predictor)
    signature = predictor.signature

    def forward(**values: Any) -> Any:
        run: ProgramRun = settings.get(RUN)
        return run.predict(signature, values)

    async def aforward(**values: Any) -> Any:
        return await asyncio.to_thread(forward, **values)

    predictor.forward, predictor.aforward = forward, aforward
    return module


async def answer_by_program(program: Program, prompt: Prompt, row: Example, client: Client, role: str) -> ModelAnswer:
    """The program's answer to a row; see `Question.ask` for what is raised. It runs in one of the client's threads."""
    engine = ClientEngine(client, prompt.model, 0, asyncio.get_running_loop(), role, 0.0, FROZEN_TOKENS)
    return await run_in_thread(engine, answer_in_thread, open_seam(program), ProgramRun(prompt, engine), row)


async def answer_by_module(module: Any, model: str, max_tokens: int, row: Example, client: Client) -> ModelAnswer:
    """The answer of a DSPy module as it stands, sent and read by DSPy itself: greedy, up to `max_tokens` a reply."""
    engine = ClientEngine(client, model, 0, asyncio.get_running_loop(), "task", 0.0, max_tokens)
    return await run_in_thread(engine, answer_of_module, module, engine, row)


async def run_in_thread(engine: ClientEngine, work: Callable[..., ModelAnswer], *given: Any) -> ModelAnswer:
    """What `work` returns in one of the client's threads; it ends with its next call once nobody waits for it."""
    try:
        return await engine.loop.run_in_executor(engine.client.threads, work, *given)
    except asyncio.CancelledError:
        engine.stopped = True
        raise


def answer_in_thread(module: Any, run: ProgramRun, row: Example) -> ModelAnswer:
    """The answer of one run with the prompt in a predictor's place."""
    try:
        outputs = run_module(module, run.engine, row, {RUN: run})
    except ReplyError as error:
        problem, detail = run.problem or ("unparsed", str(error))
        return ModelAnswer(total_cost(run.engine, "", cut=run.cut), None, problem, detail[:500], run.part)
    return ModelAnswer(total_cost(run.engine, to_reply(outputs), cut=run.cut), outputs, part=run.part)


def answer_of_module(module: Any, engine: ClientEngine, row: Example) -> ModelAnswer:
    """The answer of one run of a module without a prompt of ours."""
    outputs, detail = None, ""
    try:
        outputs = run_module(module, engine, row, {})
    except ReplyError as error:
        detail = str(error)[:500]
    cut = any(one.finish_reason == "length" for one in engine.completions)
    cost = total_cost(engine, "" if outputs is None else to_reply(outputs), cut=cut)
    return ModelAnswer(cost, outputs, None if outputs is not None else "unparsed", detail)


def run_module(module: Any, engine: ClientEngine, row: Example, extra: Mapping[str, Any]) -> dict[str, Any]:
    """A module's outputs for a row. extra: further settings of DSPy's.

    Raises `ReplyError` for what the module raises, but a failure of the whole run as it is, whatever the module made of
    it.
    """
    try:
        with dspy.context(lm=engine.to_lm(), disable_history=True, **extra):
            outputs = to_outputs(module(**row.inputs))
    except Exception as error:  # the program is the user's code: on one reply or another it may raise anything
        if engine.fatal:
            raise engine.fatal[0] from error
        raise ReplyError(f"the program raised {type(error).__name__}: {error}") from error
    if engine.fatal:
        raise engine.fatal[0]
    return outputs


def to_outputs(prediction: Any) -> dict[str, Any]:
    """A program's output by field. Raises `TypeError` where it is no prediction."""
    if isinstance(prediction, dspy.Prediction | Mapping):
        return dict(prediction.items())
    raise TypeError(f"forward returned {type(prediction).__name__}, not a dspy.Prediction")


def as_shown(value: Any) -> Any:
    """An output as reports show it."""
    return TypeAdapter(Any).dump_python(value, mode="json", fallback=str)


def to_reply(outputs: Mapping[str, Any]) -> str:
    """A program's output as a text, in the place of a model's reply."""
    return canonical_json({name: as_shown(value) for name, value in outputs.items()})


def total_cost(engine: ClientEngine, text: str, *, cut: bool) -> Completion:
    """All calls of a run as one completion. text: the program's output. cut: whether a reply ended at its limit."""
    completions = engine.completions
    return Completion(
        text=text,
        finish_reason="length" if cut else "stop",
        prompt_tokens=sum(one.prompt_tokens for one in completions),
        cached_tokens=sum(one.cached_tokens for one in completions),
        completion_tokens=sum(one.completion_tokens for one in completions),
        seconds=sum(one.seconds for one in completions),
    )


async def record_program(opened: OpenTask, task: Task, client: Client, say: Say) -> OpenTask:
    """The recipe of a program with the predictor's part of each train row in the row's place, and the limits of replies
    that follow. The predictor is asked as it is. Raises as `record_rows` does.
    """
    rows, own = opened.splits.train[:RECORDED_ROWS], task.own.demos if task.own else ()
    say(f"running the program on {plural(len(rows), 'train row')}, to record what its predictor is asked")
    prompt = build_prompt(task, "dspy-chat", task.signature.instructions, own, k=len(own))
    train = await record_rows(prompt, rows, opened.recipe.metric, client)
    labelled = [row for row in train if row.outputs]
    say(f"{len(train)} of {len(rows)} runs asked it; demos come from {plural(len(labelled), 'run')} that scored best")
    task = limit_replies(opened.task, labelled, opened.recipe.max_tokens)
    return replace(opened, task=task, splits=replace(opened.splits, train=train))


async def record_rows(prompt: Prompt, rows: Sequence[Example], metric: Metric, client: Client) -> list[Example]:
    """The predictor's part of each row, from one run of the program with `prompt`; rows whose run never asked the
    predictor are left out.

    What a run answered stands as the row's outputs, for demos, where the run scored in full; where none did, where it
    was among the best quarter above zero; where all scored zero, everywhere. Raises `UserError` where no run asked it.
    """
    results = await gather_or_cancel(score_row(prompt, row, metric, client, "recording") for row in rows)
    asked = [result for result in results if result.part]
    if not asked:
        why = next((result.reason for result in results if result.reason), "it is never called")
        raise UserError(
            "No run of the program asked the predictor that is to be searched.",
            f"On {rows[0].location}: {why}.",
            "Mend the program, or name another predictor.",
        )
    good = best_answers(asked) or [result for result in asked if result.answered]
    if not good:
        raise UserError(
            "No run of the program had an answer of the predictor that can be read.",
            f"On {asked[0].example.location}: {asked[0].reason}.",
            "Give the predictor demos, so that the model sees the form of an answer; or take a larger model.",
        )
    return [to_part(result, shown=result in good) for result in asked]


def to_part(result: ScoredRow, *, shown: bool) -> Example:
    """The predictor's part of a program's row; without outputs where its answer is not to be shown as a demo."""
    part = result.part or Part({}, None)
    outputs = (part.outputs or {}) if shown else {}
    return replace(result.example, inputs=part.inputs, outputs=outputs, whole=result.example)
