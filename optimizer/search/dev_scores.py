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
from promptstill.task.metrics import is_judge


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
        asked = ((self._asked(task, candidate, prompt, row), row) for row in rows)
        return await gather_or_cancel(self._score_row(task, one, row) for one, row in asked)

    async def count_told(self, task: SearchTask, candidate: Candidate, prompt: Prompt, rows: Sequence[Example]) -> int:
        """How many of the rows, from the first on, need no call, as they were read for this prompt with another bias
        or with none. prompt: as in `score`."""
        if self.answers is None or self.client.draws > 1 or is_judge(task.metric):
            return 0
        for number, row in enumerate(rows):
            if not await self.answers.is_read(self._asked(task, candidate, prompt, row), row, self.client):
                return number
        return len(rows)

    def _asked(self, task: SearchTask, candidate: Candidate, prompt: Prompt, row: Example) -> Prompt:
        return self.left_out.prompt(task, candidate, prompt, row) if self.left_out else prompt

    async def _score_row(self, task: SearchTask, prompt: Prompt, row: Example) -> ScoredRow:
        if self.answers and self.client.draws == 1:
            told = await self.answers.answer(prompt, row, self.client)
            if told is not None:
                return await score_answer(row, told, task.metric, self.client)
        return await score_row(prompt, row, task.metric, self.client)
