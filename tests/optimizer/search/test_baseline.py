"""The user's own prompt in a search: a candidate without choices, the first of all, and the rows that it shows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.storages import InMemoryStorage, RDBStorage

from optimizer.search.baseline import rows_shown, with_own
from optimizer.search.candidate import Candidate
from optimizer.search.playoff import fixed_inputs
from optimizer.search.space import NO_DEMOS
from optimizer.search.study import StoredStudy, Trial
from optimizer.search.suggest import suggest_candidates
from optimizer.search.task import SearchTask
from promptstill import OwnPrompt
from promptstill.prompt.layouts import OWN
from promptstill.task.open import read_own_of
from tests.support.world import World, run_search, world_row, world_task

MINE = "# system\n\nAnswer.\n\n# user\n\nitem 2000003\n\n# assistant\n\ncode 2000003\n\n# user\n\nthing: {{item}}"


@pytest.fixture
def task(tmp_path: Path) -> SearchTask:
    plain = world_task(30, 0)
    (tmp_path / "mine.md").write_text(MINE)
    return replace(plain, own=read_own_of(OwnPrompt(tmp_path / "mine.md"), plain.task))


def own_trial(task: SearchTask, layout: str = OWN, value: float = 1.0) -> Trial:
    candidate = Candidate(layout, NO_DEMOS, 1, 0)
    return Trial(0, 0, candidate, task.prompt(candidate).id, value, {0: value}, False, 0, 1.0, 1.0)


def test_it_is_the_first_starter_and_drives_none_out(task: SearchTask) -> None:
    first, *others = task.starters()
    assert task.prompt(first) == task.own and first.layout == OWN
    assert others == replace(task, own=None).starters()


def test_its_instruction_comes_before_the_recipes_own(task: SearchTask) -> None:
    assert with_own(["Another."], task.own) == ("Answer.", "Another.") and with_own(["Another."], None) == ("Another.",)


def test_nothing_is_suggested_in_its_layout_and_nothing_learned_from_it(task: SearchTask) -> None:
    other = own_trial(task, "chat", 0.2)
    history = [own_trial(task), replace(other, slot=1)]
    suggested = suggest_candidates(task.space.choices, history, 8, "seed")
    assert OWN not in {one.layout for one in suggested}
    assert suggested == suggest_candidates(task.space.choices, history[1:], 8, "seed")


@pytest.mark.parametrize("kind", ["memory", "sql"])
def test_a_search_keeps_it_among_its_trials(kind: str, task: SearchTask, tmp_path: Path) -> None:
    storage = InMemoryStorage() if kind == "memory" else RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    study = StoredStudy(storage, "own")
    outcome = asyncio.run(run_search(task, World(0.5, 1), study=study))
    layouts = [trial.candidate.layout for trial in study.trials()]
    assert layouts[0] == OWN and layouts.count(OWN) == 1 and len(layouts) == task.trials
    assert outcome.winner.prompt_id in {trial.prompt_id for trial in study.trials()}


def test_rows_that_it_shows_are_in_no_play_off_of_its(task: SearchTask) -> None:
    assert task.own is not None
    assert [row.id for row in rows_shown(task.own, task.train)] == ["2000003"]
    assert fixed_inputs(task, own_trial(task)) == ['{"item":"item 2000003"}']
    assert rows_shown(task.own, [world_row(7)]) == []
