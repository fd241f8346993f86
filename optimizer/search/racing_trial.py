"""A generation on its way through the blocks: its trials, and who of them is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from optimizer.search.candidate import Candidate
from optimizer.search.race import Scores, average, is_worse, projected_score
from optimizer.search.study import Trial
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.evaluate import ScoredRow, mean_tokens


@dataclass
class RacingTrial:
    """A trial on its way through the blocks."""

    slot: int
    candidate: Candidate
    prompt: Prompt
    results: dict[int, ScoredRow] = field(default_factory=dict)
    lost: bool = False
    over: bool = False  # its prompts are longer than the user allows

    def hold_to(self, most: float) -> None:
        """Drop it where its prompts have more tokens than `most` in the mean of the rows asked."""
        if mean_tokens(list(self.results.values()))[0] > most:
            self.lost = self.over = True

    @property
    def scores(self) -> dict[int, float]:
        return {row: result.score for row, result in self.results.items()}

    def finish(self, worker: int, incumbent: Scores) -> Trial:
        """The trial as it is stored; where it was dropped early, its score is projected beside the incumbent's; it is
        0 where its prompts are too long."""
        results = list(self.results.values())
        return Trial(
            worker,
            self.slot,
            self.candidate,
            self.prompt.id,
            0.0 if self.over else projected_score(self.scores, incumbent),
            self.scores,
            self.lost,
            sum(result.unparsed for result in results),
            *mean_tokens(results),
            median(result.seconds for result in results),
            {row: one.labels.answer for row, one in self.results.items() if one.labels},
        )


def drop_losers(racing: Sequence[RacingTrial], incumbent: Scores, most: int) -> None:
    """Mark as lost what a paired test puts below the leader, and all but the best `most`; ties go to the earlier.

    The leader may be a trial of an earlier generation, so that a weak generation does not race to its end. A first race
    that was fitted to few calls has left it without some rows: it is compared on those that it has.
    """
    if not racing:
        return
    ranked = sorted(racing, key=lambda trial: -average(trial.scores))
    best = ranked[0].scores
    seen = {row: incumbent[row] for row in best if row in incumbent}
    leader = seen if average(seen) > average({row: best[row] for row in seen}) else best
    for place, trial in enumerate(ranked):
        trial.lost = place >= most or is_worse(trial.scores, leader)
