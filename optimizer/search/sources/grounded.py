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

from optimizer.search.sources.proposals import CutReply, Reply, filter_proposals
from optimizer.search.sources.proposer import open_proposer, opening_calls, reply_tokens
from optimizer.search.sources.source import SourceContext
from optimizer.search.space import Addition, Space
from optimizer.search.study import Trial
from promptstill.endpoint.allowance import PROPOSER
from promptstill.endpoint.client import Client
from promptstill.scoring.dspy_engine import ClientEngine

ROWS_SHOWN = 10
REPLY_END = "[[ ## completed ## ]]"  # in DSPy's form; what a small model writes after it is of no use
SUMMARY_CALLS = 6  # of a summary of the rows: DSPy describes them and sums that up, with a second try for each
PROPOSAL_CALLS = 3  # what one proposal takes at most: DSPy asks again where a reply does not parse
log = logging.getLogger(__name__)
logging.getLogger("dspy").setLevel(logging.ERROR)  # it warns of each input that a smaller signature leaves unused


class GroundedSource:
    """Asked once, after the first race. Another model than the task's first describes the rows to itself."""

    def __init__(self, context: SourceContext) -> None:
        self.context = context
        self.model = context.proposer or context.task.model

    def count(self, number: int, earlier: Sequence[Addition] | None = None) -> int:
        due = number == 1 if earlier is None else number >= 1 and not earlier
        return self.context.proposals if due else 0

    def describe(self, count: int) -> str:
        return f"{count} instructions proposed by {self.model}"

    def max_calls(self, count: int) -> int:
        return PROPOSAL_CALLS * count + (SUMMARY_CALLS if self.context.proposer else 0) + opening_calls(self.context)

    async def propose(self, space: Space, history: Sequence[Trial], count: int, client: Client) -> Addition:
        context, signature = self.context, self.context.task.signature
        rows = [sample_rows(context, number) for number in range(count + 1)]
        proposer = await open_proposer(context, client, self.max_calls(count))
        loop, limit = asyncio.get_running_loop(), reply_tokens(context)
        samples = [context.seed * 1000 + number + 1 for number in range(count + 1)]
        engines = [
            ClientEngine(proposer, self.model, one, loop, PROPOSER, 1.0, limit, stop=REPLY_END, ends_when_cut=place > 0)
            for place, one in enumerate(samples)
        ]
        with contextlib.redirect_stdout(io.StringIO()):  # DSPy prints; here, since a redirection in threads never ends
            summary = await asyncio.to_thread(summarize, rows[0], engines[0]) if context.proposer else None
            asked = [
                asyncio.to_thread(propose_one, signature, rows[i + 1], summary, engine, i)
                for i, engine in enumerate(engines[1:])
            ]
            answers = await asyncio.gather(*asked)
        for engine in engines:
            if engine.fatal:
                raise engine.fatal[0]
        kept, refused = filter_proposals(
            answers, [signature.instructions], context.train, context.task.markers, context.judging
        )
        return Addition(instructions=tuple(kept), refused=tuple(refused))


def sample_rows(context: SourceContext, number: int) -> list[dspy.Example]:
    """Labelled train rows as DSPy has them, others for each number."""
    labelled = [example for example in context.train if example.outputs]
    examples = random.Random(f"{context.seed}-{number}").sample(labelled, min(ROWS_SHOWN, len(labelled)))
    return [dspy.Example(**{**ex.inputs, **ex.outputs}, augmented=True).with_inputs(*ex.inputs) for ex in examples]


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
) -> Reply:
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
            found = str(
                proposer.propose_instruction_for_predictor(program, program, 0, {0: [[], rows]}, 1, {}, tip=tip)
            )
            return CutReply() if engine.was_cut else found
    except Exception as error:  # as in summarize
        return CutReply() if engine.was_cut else error
