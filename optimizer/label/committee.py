"""The prompts that a run found best, made again from its folder (query by committee: Settles 2009, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from optimizer.report.report import read_facts
from optimizer.run.folder import RunFolder
from optimizer.run.settings import SearchSettings
from optimizer.search.baseline import for_model
from optimizer.search.space import Space
from optimizer.search.study import Trial
from optimizer.search.task import SearchTask
from promptstill.endpoint.client import Client
from promptstill.engine.markers import find_markers
from promptstill.engine.models import Model
from promptstill.errors import UserError
from promptstill.prompt.prompt import Prompt
from promptstill.shell import command_line
from promptstill.task.open import OpenTask

MEMBERS = 5


@dataclass(frozen=True)
class Committee:
    """A run's best trials, two or more, and the space of their choices."""

    space: Space
    trials: Sequence[Trial]

    async def prompts(self, opened: OpenTask, settings: SearchSettings, model: Model, client: Client) -> list[Prompt]:
        """The prompt of each trial, as this model is asked it."""
        markers = await find_markers(model, client)
        space = self.space
        task = replace(opened.task, model=model.name, markers=markers)
        task = replace(task, structured=space.structured, dialect=space.dialect)
        splits, own = opened.splits, for_model(opened.own, task)
        parts = (task, space, splits.train, splits.dev, opened.recipe.metric, settings.seed, settings.most_trials)
        search = SearchTask(*parts, own=own)
        return [search.prompt(trial.candidate) for trial in self.trials]


def find_committee(run: RunFolder) -> Committee:
    """The run's best trials. Raises `UserError` where it tried fewer than two prompts."""
    facts = read_facts(run)
    best = best_trials(facts.trials)
    if facts.space is None or len(best) < 2:
        raise UserError(
            f"{run.path} has {'one candidate' if best else 'no candidate'} so far.",
            "It takes two to disagree on a row.",
            f"Let it search on: {command_line('optimize', '--resume', run.path)}",
        )
    return Committee(facts.space, best)


def best_trials(trials: Sequence[Trial]) -> list[Trial]:
    """The first `MEMBERS` of different prompts: those scored on all of dev first, then by their score."""
    by_prompt: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda trial: (trial.lost, -trial.value)):
        by_prompt.setdefault(trial.prompt_id, trial)
    return list(by_prompt.values())[:MEMBERS]
