"""How a candidate's dev rows are scored: asked, or told by what was read of them for another bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.search.candidate import Candidate
from optimizer.search.leave_out import LeaveOut
from optimizer.search.task import SearchTask
from promptstill.endpoint.client import Client
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.calibration.label_answers import LabelAnswers
from promptstill.scoring.evaluate import ScoredRow, gather_or_cancel, score_answer, score_row
from promptstill.task.examples import Example


@dataclass(frozen=True)
class DevScorer:
    """left_out: where dev's rows are train's, what a row is asked without. answers: what log-probabilities tell; None
    where nothing is calibrated. A sampled reply is told by none."""

    client: Client
    left_out: LeaveOut | None = None
    answers: LabelAnswers | None = None

    async def score(
        self, task: SearchTask, candidate: Candidate, prompt: Prompt, rows: Sequence[Example]
    ) -> list[ScoredRow]:
        """A candidate's results on rows. prompt: what the candidate stands for."""
        left_out = self.left_out
        asked = ((left_out.prompt(task, candidate, prompt, row) if left_out else prompt, row) for row in rows)
        return await gather_or_cancel(self._score_row(task, one, row) for one, row in asked)

    async def is_told(self, prompt: Prompt, row: Example) -> bool:
        """Whether a row that was asked of this prompt with another bias, or with none, needs no call."""
        return self.answers is not None and self.client.draws == 1 and await self.answers.tells_all(prompt, row)

    async def _score_row(self, task: SearchTask, prompt: Prompt, row: Example) -> ScoredRow:
        if self.answers and self.client.draws == 1:
            told = await self.answers.answer(prompt, row, self.client)
            if told is not None:
                return await score_answer(row, told, task.metric, self.client)
        return await score_row(prompt, row, task.metric, self.client)
