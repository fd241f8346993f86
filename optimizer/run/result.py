"""What a run came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optimizer.run.folder import RunFolder
from optimizer.run.settings import SearchSettings
from optimizer.search.playoff import SearchOutcome
from promptstill.endpoint.allowance import Allowance
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.test_report import TestVerdict


@dataclass(frozen=True)
class RunResult:
    """What a run came to. Of several processes on one run, only `worker` 0 chooses, reads test and writes best.json.

    verdict: the comparison on test; None where a limit left test unread. best: the content of best.json.
    dev_rows: how many rows a full evaluation of a trial takes. in_program: whether the prompt is one predictor's of a
    program. unlabelled: the recipe's rows without outputs.
    """

    run: RunFolder
    outcome: SearchOutcome
    verdict: TestVerdict | None
    best: dict[str, Any] | None
    allowance: Allowance
    dev_rows: int
    settings: SearchSettings
    worker: int = 0
    in_program: bool = False
    unlabelled: int = 0

    @property
    def prompt(self) -> Prompt | None:
        """The prompt that is shipped."""
        return Prompt.from_artifact(self.best, str(self.run.best_path)) if self.best else None
