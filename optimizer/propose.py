"""Instructions that a model proposes (`dspy.propose.GroundedProposer`), and the refusal of junk among them.

A proposal that fails costs one proposal, never the run; a reached budget or a dead endpoint does stop it. The proposer
sees train rows only.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.lm15 import Message, Request, Response, Usage
from dspy.propose.dataset_summary_generator import create_dataset_summary
from dspy.propose.grounded_proposer import TIPS, GroundedProposer
from dspy.utils.exceptions import AdapterParseError

from optimizer.client import Client
from optimizer.errors import BudgetReached, PromptstillError
from optimizer.examples import Example
from optimizer.nearest import near_duplicate, words
from optimizer.spelled import plural

LONGEST = 1_500  # characters; beyond it an instruction is rambling
COPIED_WORDS = 10  # a run of so many words of a row is a copy of the row
REPLY_TOKENS = 160
ROWS_SHOWN = 10
log = logging.getLogger(__name__)
logging.getLogger("dspy").setLevel(logging.ERROR)  # it warns of each input that a smaller signature leaves unused


@dataclass
class ClientEngine:
    """DSPy's engine protocol over our client, so that proposals are stored, metered and budgeted like all calls.

    `sample` sets one proposal apart from another that asks the same.
    """

    client: Client
    model: str
    sample: int
    loop: asyncio.AbstractEventLoop
    fatal: list[Exception] = field(default_factory=list)

    def complete(self, request: Request) -> Response:
        coroutine = self.client.complete(to_body(request, self.model), "proposer", self.sample)
        try:
            completion = asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()
        except (BudgetReached, PromptstillError) as error:
            self.fatal.append(error)
            raise
        usage = Usage(input_tokens=completion.prompt_tokens, output_tokens=completion.completion_tokens)
        message = Message.assistant(completion.text or " ")
        return Response(id=None, model=self.model, message=message, finish_reason="stop", usage=usage)


def to_body(request: Request, model: str) -> dict[str, Any]:
    """An lm15 request as the body of an OpenAI chat call."""
    system = [{"role": "system", "content": request.system}] if isinstance(request.system, str) else []
    turns = [{"role": message.role, "content": message.text or ""} for message in request.messages]
    temperature = request.config.temperature if request.config.temperature is not None else 1.0
    return {"model": model, "messages": system + turns, "temperature": temperature, "max_tokens": REPLY_TOKENS}


async def propose_instructions(
    signature: type[dspy.Signature],
    train: Sequence[Example],
    client: Client,
    *,
    model: str,
    count: int,
    seed: int,
    summary: bool,
) -> tuple[list[str], list[str]]:
    """Up to `count` new instructions, and why each of the others was refused. All are asked for at once.

    With `summary` the proposer first describes the rows, which takes it some calls one after the other.
    """
    if count == 0:
        return [], []
    loop = asyncio.get_running_loop()
    rows = [dspy.Example(**{**ex.inputs, **ex.outputs}, augmented=True).with_inputs(*ex.inputs) for ex in train]
    rows = random.Random(seed).sample(rows, min(ROWS_SHOWN, len(rows)))
    engines = [ClientEngine(client, model, seed * 1000 + i + 1, loop) for i in range(count + 1)]
    with contextlib.redirect_stdout(io.StringIO()):  # DSPy prints; here, since a redirection in threads never ends
        described = await asyncio.to_thread(summarize, rows, engines[0]) if summary else None
        asked = [
            asyncio.to_thread(propose_one, signature, rows, described, engine, i)
            for i, engine in enumerate(engines[1:])
        ]
        answers = await asyncio.gather(*asked)
    for engine in engines:
        if engine.fatal:
            raise engine.fatal[0]
    return sift(answers, [signature.instructions], train)


def language_model(engine: ClientEngine) -> dspy.LM:
    return dspy.LM(engine.model, engine=engine, cache=False, num_retries=0, temperature=1.0, max_tokens=REPLY_TOKENS)


def summarize(rows: list[dspy.Example], engine: ClientEngine) -> str | None:
    """DSPy's summary of some train rows, or None where the model cannot write one."""
    try:
        with dspy.context(lm=language_model(engine)):
            return str(create_dataset_summary(rows, ROWS_SHOWN, language_model(engine)))
    except Exception as error:  # whatever DSPy makes of it; `fatal` keeps what must stop the run
        log.info("no dataset summary: %s", error)
        return None


def propose_one(
    signature: type[dspy.Signature], rows: list[dspy.Example], summary: str | None, engine: ClientEngine, index: int
) -> str | Exception:
    """One instruction, or the failure that took its place."""
    program = dspy.Predict(signature)
    tip = list(TIPS.values())[index % len(TIPS)]
    try:
        with dspy.context(lm=language_model(engine)):
            proposer = GroundedProposer(
                language_model(engine),
                program,
                rows,
                use_dataset_summary=False,
                program_aware=False,
                use_instruct_history=False,
                rng=random.Random(engine.sample),
            )
            proposer.use_dataset_summary, proposer.data_summary, proposer.use_tip = bool(summary), summary, bool(tip)
            return str(proposer.propose_instruction_for_predictor(program, program, 0, {0: [[], rows]}, 1, {}, tip=tip))
    except Exception as error:  # as in summarize
        return error


def sift(
    answers: Sequence[str | Exception], known: Sequence[str], train: Sequence[Example]
) -> tuple[list[str], list[str]]:
    """New, usable instructions, and the reasons for refusing the rest."""
    kept: list[str] = []
    refused: list[str] = []
    for answer in answers:
        problem = junk(answer, [*known, *kept], train)
        if problem or isinstance(answer, Exception):
            refused.append(problem)
        else:
            kept.append(answer.strip())
    return kept, refused


def account(refused: Sequence[str], kept: int) -> str:
    """What became of the proposals, for the terminal; empty where none was asked for."""
    if not refused:
        return f", {kept} of them proposed" if kept else ""
    why = ", ".join(f"{n} {reason}" for reason, n in Counter(refused).most_common())
    said = f"{plural(len(refused), 'proposal')} by the model {'was' if len(refused) == 1 else 'were'} unusable ({why})"
    return f"; {said}" + ("" if kept else "; only the recipe's own wording is searched")


def junk(answer: str | Exception, known: Sequence[str], rows: Sequence[Example]) -> str:
    """Why a proposal is useless, or an empty string."""
    if isinstance(answer, Exception):
        unread = isinstance(answer, AdapterParseError)
        return "not in the asked form" if unread else f"lost: the proposer failed ({type(answer).__name__})"
    if len(words(answer)) < 3:
        return "empty"
    if len(answer) > LONGEST:
        return f"longer than {LONGEST} characters"
    if "[[ ##" in answer or answer.strip()[0] in "{[":  # what a small model makes of DSPy's formats
        return "markup instead of a sentence"
    if any(near_duplicate(words(answer), words(other)) for other in known):
        return "said what another says"
    text = f" {' '.join(words(answer))} "
    copied = any(run in text for row in rows for value in row.inputs.values() for run in runs(str(value)))
    return "copied a row" if copied else ""


def runs(text: str) -> list[str]:
    """All runs of ten words."""
    found = words(text)
    return [f" {' '.join(found[i : i + COPIED_WORDS])} " for i in range(len(found) - COPIED_WORDS + 1)]
