"""Who was dropped from a race, when and why, by the rules of optimizer/search/race.py."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from optimizer.search.candidate import FIELD, Candidate
from optimizer.search.race import GENERATION, average, blocks, is_worse, survivors
from optimizer.search.space import Space
from optimizer.search.study import Trial
from promptstill.command.tables import narrow_table

COLUMNS = ("layout", "demos", "wording", "rows", "score", "outcome")  # with these words it fits 80 characters


def race_table(trials: Sequence[Trial], winner: str, space: Space, dev: int) -> Table:
    """A line for each trial, in the order in which they were tried. winner: the id of the prompt that was chosen."""
    table = narrow_table("", "trial", *COLUMNS)
    for trial in trials:
        proposed = trial.candidate.instruction - space.given + 1
        table.add_row(
            str(trial.slot),
            trial.candidate.layout,
            demos(trial.candidate, space),
            "recipe's" if proposed < 1 else f"model's {proposed}",
            str(len(trial.scores)),
            f"{100 * trial.value:.1f}{'~' if trial.lost else ' '}",
            "winner" if trial.prompt_id == winner else fate(trial, trials, dev),
        )
    return table


def demos(candidate: Candidate, space: Space) -> str:
    """The name of a candidate's demos, their number where it has any, and a + where it reasons in a field."""
    chosen = space.demo_sets[candidate.demos]
    count = f", {space.demo_count(candidate.demos, candidate.k)}" if chosen.demos or chosen.nearest else ""
    return candidate.demos + count + ("+" if candidate.reasoning == FIELD else "")


def fate(trial: Trial, trials: Sequence[Trial], dev: int) -> str:
    """How far a trial came, and by which rule it was dropped."""
    if not trial.lost:
        return "to the end"
    leader = leader_beside(trial, trials)
    if is_worse(trial.scores, leader.scores):
        return f"below {leader.slot}"
    block = sum(rows.stop <= len(trial.scores) for rows in blocks(dev)) - 1
    size = sum(generation(other) == generation(trial) for other in trials)
    return f"not in best {survivors(size, block)}"


def leader_beside(trial: Trial, trials: Sequence[Trial]) -> Trial:
    """The best on the trial's rows: of its own generation, or the best complete one of those before."""
    rows = trial.scores.keys()
    beside = [one for one in trials if generation(one) == generation(trial) and rows <= one.scores.keys()]
    before = [one for one in trials if generation(one) < generation(trial) and not one.lost]
    best = sorted(before, key=lambda one: -one.value)[:1]
    return max([*beside, *best], key=lambda one: average({row: one.scores[row] for row in rows}))


def generation(trial: Trial) -> int:
    """The number of the race that a trial ran in, from 0."""
    return trial.slot // GENERATION
