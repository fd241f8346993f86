"""Instructions that a model proposes from a few train rows, by DSPy's `GroundedProposer`.

A proposal that fails costs one proposal, never the run; a reached limit or a dead endpoint does stop it.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import random
from collections.abc import Sequence

import dspy
from dspy.propose.dataset_summary_generator import create_dataset_summary
from dspy.propose.grounded_proposer import TIPS, GroundedProposer

from optimizer.search.sources.proposals import filter_proposals
from optimizer.search.sources.source import SourceContext
from optimizer.search.space import Addition, Space
from optimizer.search.study import Trial
from promptstill.endpoint.allowance import PROPOSER
from promptstill.endpoint.client import Client
from promptstill.endpoint.dialect import constrains_outputs
from promptstill.scoring.dspy_engine import ClientEngine
from promptstill.scoring.evaluate import ScoredRow

REPLY_TOKENS = 160
ROWS_SHOWN = 10
SUMMARY_CALLS = 6  # of a summary of the rows: DSPy describes them and sums that up, with a second try for each
DIALECT_CALLS = 7  # of another model's dialect, at most
PROPOSAL_CALLS = 3  # what one proposal takes at most: DSPy asks again where a reply does not parse
log = logging.getLogger(__name__)
logging.getLogger("dspy").setLevel(logging.ERROR)  # it warns of each input that a smaller signature leaves unused


class GroundedSource:
    """Asked once, after the first race. Another model than the task's first describes the rows to itself."""

    def __init__(self, context: SourceContext) -> None:
        self.context = context
        self.model = context.proposer or context.task.model

    def count(self, number: int) -> int:
        return self.context.proposals if number == 1 else 0

    def describe(self, count: int) -> str:
        return f"{count} instructions proposed by {self.model}"

    def max_calls(self, count: int) -> int:
        return PROPOSAL_CALLS * count + (SUMMARY_CALLS + DIALECT_CALLS if self.context.proposer else 0)

    async def propose(
        self, space: Space, history: Sequence[Trial], feedback: Sequence[ScoredRow], count: int, client: Client
    ) -> Addition:
        context, signature = self.context, self.context.task.signature
        labelled = [example for example in context.train if example.outputs]
        examples = random.Random(context.seed).sample(labelled, min(ROWS_SHOWN, len(labelled)))
        rows = [dspy.Example(**{**ex.inputs, **ex.outputs}, augmented=True).with_inputs(*ex.inputs) for ex in examples]
        if context.proposer_client:
            client = context.proposer_client.share(self.max_calls(count))
        if context.proposer and self.model not in client.dialects:
            client.dialects[self.model], _ = await constrains_outputs(client, self.model, PROPOSER)
        loop = asyncio.get_running_loop()
        samples = [context.seed * 1000 + number + 1 for number in range(count + 1)]
        engines = [ClientEngine(client, self.model, one, loop, PROPOSER, 1.0, REPLY_TOKENS) for one in samples]
        with contextlib.redirect_stdout(io.StringIO()):  # DSPy prints; here, since a redirection in threads never ends
            summary = await asyncio.to_thread(summarize, rows, engines[0]) if context.proposer else None
            asked = [
                asyncio.to_thread(propose_one, signature, rows, summary, engine, i)
                for i, engine in enumerate(engines[1:])
            ]
            answers = await asyncio.gather(*asked)
        for engine in engines:
            if engine.fatal:
                raise engine.fatal[0]
        kept, refused = filter_proposals(answers, [signature.instructions], context.train)
        return Addition(instructions=tuple(kept), refused=tuple(refused))


def summarize(rows: list[dspy.Example], engine: ClientEngine) -> str | None:
    """DSPy's summary of some train rows, or None where the model cannot write one."""
    try:
        with dspy.context(lm=engine.to_lm()):
            return str(create_dataset_summary(rows, ROWS_SHOWN, engine.to_lm()))
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
        with dspy.context(lm=engine.to_lm()):
            proposer = GroundedProposer(
                engine.to_lm(),
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
