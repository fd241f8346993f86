"""The searches of a cross-validated run: one without each fold of the rows, and one over all rows, side by side.

Each row is scored once, by the prompt of the search that did not see it. What is shipped is the prompt of the search
over all rows. All share one endpoint, one store of calls and one budget.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from optimizer.one_search import Found, OneSearch
from optimizer.run.folder import RunFolder
from optimizer.search.forecast import folds_line
from optimizer.search.pace import SearchProgress
from optimizer.search.search import Search
from optimizer.search.study import StoredStudy
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import Allowance, AllowancePart, Limit, LimitReached
from promptstill.endpoint.store import Total
from promptstill.events import Event, GenerationEnded, Listener, Say
from promptstill.scoring.test_report import FoldScores, Reports
from promptstill.task.splits import Splits

WHOLE = -1  # the number of the search over all rows


@dataclass(frozen=True)
class Folds:
    """The searches of a run. parts: one for each fold; none of a run that is not cross-validated. whole: over all rows
    that may be searched."""

    parts: tuple[OneSearch, ...]
    whole: OneSearch

    @property
    def searches(self) -> list[OneSearch]:
        return [*self.parts, self.whole]

    async def tell_price(self, searches: Sequence[Search], paying: Allowance, say: Say) -> None:
        """Say what all searches cost at most. The baseline's first rows are asked for it; the race finds them stored.

        paying: what the whole run may spend.
        """
        calls = sum(one.max_calls() for one in searches) + paying.held
        allowance, began = self.whole.allowance, time.monotonic()
        before = allowance.total.calls
        with contextlib.suppress(LimitReached):  # the race meets the limit too
            await searches[-1].score_first()
        asked = allowance.total.calls - before
        pace = (time.monotonic() - began) / asked if asked else 0.0
        rows = len(self.whole.opened.splits.test)
        say(folds_line(rows, len(self.parts), calls, paying.limits, pace))

    def stopped(self, found: Sequence[Found]) -> Limit | None:
        """The limit that ended one of the searches, if one did."""
        return next((one.outcome.stopped for one in reversed(found) if one.outcome.stopped), None)

    def scores(self, found: Sequence[Found], reports: Sequence[Reports]) -> tuple[FoldScores, ...]:
        """What each fold came to; nothing of a run that is not cross-validated."""
        pairs = zip(found, reports, strict=False) if self.parts else ()
        return tuple(
            FoldScores(len(one.test), baseline.score.mean, winner.score.mean, one.outcome.winner.value, one.winner.id)
            for one, (baseline, _, winner) in pairs
        )


def open_folds(whole: OneSearch) -> Folds:
    """The searches of a cross-validated run, from that over all rows. Each may spend an equal part of what is left."""
    count = len(whole.opened.splits.folds) + 1
    together = Together(whole.listener, whole.allowance, count)
    parts = tuple(fold_search(whole, number, one, together) for number, one in enumerate(whole.opened.splits.folds))
    follow_run = whole.follow

    def follow(task: SearchTask, progress: SearchProgress) -> None:
        note_spent(whole.run_folder, own.allowance)
        follow_run(task, progress)

    own = on_part(replace(whole, listener=together.of(WHOLE), follow=follow), whole.run_folder, count)
    return Folds(parts, own)


def fold_search(whole: OneSearch, number: int, splits: Splits, together: Together) -> OneSearch:
    """The search without a fold, in a folder of its own inside the run's."""
    folder = RunFolder(whole.run_folder.path / "folds" / str(number))
    folder.logs_dir.mkdir(parents=True, exist_ok=True)
    settings = whole.settings
    study = StoredStudy.open(
        settings.storage, folder.study_path, f"{settings.study or whole.opened.name}-fold-{number}"
    )
    one = replace(
        whole,
        opened=replace(whole.opened, splits=splits),
        run_folder=folder,
        listener=together.of(number),
        study=study,
        follow=lambda task, progress: note_spent(folder, part.allowance),
    )
    part = on_part(one, folder, len(whole.opened.splits.folds) + 1)
    return part


def on_part(search: OneSearch, folder: RunFolder, parts: int) -> OneSearch:
    """The search with its part of the run's allowance."""
    noted = folder.record.get("search_spent", {}) if folder.is_begun else {}
    spent = {role: Total(**cost) for role, cost in noted.items()}
    part = AllowancePart(search.allowance, parts, spent)
    return replace(
        search, client=search.client.paid_by(part), proposer=search.proposer and search.proposer.paid_by(part)
    )


def note_spent(folder: RunFolder, allowance: Allowance) -> None:
    """Keep what one of the searches has spent, for when the run goes on."""
    folder.note(search_spent=allowance.record()["roles"])


@dataclass
class Together:
    """Hears searches that work side by side, and tells of them as one: trials, rows and calls of all, and the best
    trial of the search over all rows. Only that one's messages are passed on."""

    listener: Listener
    allowance: Allowance
    count: int
    _latest: dict[int, GenerationEnded] = field(default_factory=dict)

    def of(self, number: int) -> Listener:
        """The listener for one of the searches."""

        def hear(event: Event) -> None:
            if isinstance(event, GenerationEnded):
                self._latest[number] = event
                self.listener(self._sum(event))
            elif number == WHOLE:
                self.listener(event)

        return hear

    def _sum(self, event: GenerationEnded) -> GenerationEnded:
        each, whole = list(self._latest.values()), self._latest.get(WHOLE)
        left = [(one.seconds_left, one.limit) for one in each if one.seconds_left is not None]
        # What has not told of itself yet may take the longest.
        seconds_left, limit = max(left) if len(left) == self.count else (None, "")
        return GenerationEnded(
            sum(one.done for one in each),
            event.trials and self.count * event.trials,
            whole.best if whole else None,
            whole.choices if whole else {},
            sum(one.rows_evaluated for one in each),
            sum(one.rows_in_full for one in each),
            self.allowance.total.calls,
            self.allowance.total.tokens,
            seconds_left,
            limit,
        )
