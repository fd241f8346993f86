"""Racing and the choice: how rows are bought, who goes on, and which finalist wins."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any, cast

import pytest
from optuna.storages import InMemoryStorage

from benchmarks.searches import TRAIN_FROM, World, problem, row, searched
from benchmarks.simulated import ADD_UP, Capped
from optimizer.budget import Budget, Meter
from optimizer.calls import Completion, Total
from optimizer.client import Client
from optimizer.finals import Outcome, choose, pareto
from optimizer.pools import Pools
from optimizer.problem import Problem
from optimizer.prompt import Prompt
from optimizer.race import blocks, estimate, fitted, going_on, lost, most_bought
from optimizer.search import Progress, Search
from optimizer.study import Space, StoredStudy, Trial, suggest


def trial(slot: int, scores: list[float], tokens: float) -> Trial:
    by_row = dict(enumerate(scores))
    return Trial(0, slot, {}, f"p{slot}", sum(scores) / len(scores), by_row, False, 0, tokens, 0.0)


@pytest.mark.parametrize(
    ("rows", "ends"),
    [(1, [1]), (12, [12]), (40, [16, 40]), (54, [16, 54]), (110, [16, 48, 110]), (800, [100, 300, 800])],
)
def test_blocks_cover_all_rows_and_grow(rows: int, ends: list[int]) -> None:
    made = blocks(rows)
    assert [block.stop for block in made] == ends
    assert [row for block in made for row in block] == list(range(rows))


def test_a_generation_is_halved_twice_and_never_emptied() -> None:
    assert [going_on(8, 0), going_on(8, 1), going_on(3, 0), going_on(1, 0), going_on(1, 1)] == [4, 2, 2, 1, 1]


def test_a_generation_of_eight_buys_less_than_half() -> None:
    assert most_bought(8, 110) == 8 * 16 + 4 * 32 + 2 * 62 <= 0.5 * 8 * 110
    assert most_bought(3, 12) == 36, "one block is all of dev"


@pytest.mark.parametrize(
    ("calls", "ends"), [(50, [8]), (115, [8, 14, 26]), (243, [10, 30, 70]), (350, [14, 43, 100]), (359, [14, 44, 100])]
)
def test_a_race_fitted_to_few_calls_looks_three_times(calls: int, ends: list[int]) -> None:
    made = fitted(8, 100, calls)
    assert [block.stop for block in made] == ends and made[0].start == 0
    each = [going * len(block) for going, block in zip((8, 4, 2), made, strict=False)]
    assert len(made) == 1 or 0.9 * calls < sum(each) <= calls < most_bought(8, 100)


@pytest.mark.parametrize("cap", [70, 125, 200, 290])
def test_a_budget_below_a_whole_race_lets_all_starters_begin_and_the_best_go_on(cap: int) -> None:
    work, study = replace(problem(100, 1), trials=1_000), StoredStudy(InMemoryStorage(), "small")
    world = Dying(ADD_UP, 1, cap)
    world.fails_at = cap - 20
    with pytest.raises(ConnectionError):
        asyncio.run(searched(work, world, study=study))
    world.fails_at = 0
    outcome = asyncio.run(searched(work, world, study=study))
    assert outcome == asyncio.run(searched(work, Capped(ADD_UP, 1, cap))), "a failure changes nothing"
    assert outcome.stopped == f"--max-calls {cap}" and 0.9 * cap <= world.meter.total.calls <= cap
    rows = sorted(len(trial.scores) for trial in outcome.trials)
    assert len(rows) == len(work.starters()) and rows[0] >= 8
    assert rows[0] < rows[-3] < rows[-2] == rows[-1] == len(outcome.winner.scores)
    world.meter.budget = Budget(calls=500)
    later = asyncio.run(searched(work, world, study=study))
    fresh = asyncio.run(searched(work, Capped(ADD_UP, 1, 500)))
    first = slice(len(work.starters()))
    assert later.trials[first] == fresh.trials[first], "a higher limit goes on as one that was there from the start"


def test_a_raised_budget_counts_the_reading_of_test_that_a_smaller_one_paid() -> None:
    work, study = replace(problem(100, 1), trials=1_000), StoredStudy(InMemoryStorage(), "raised")
    world = Capped(ADD_UP, 1, 1)
    world.meter = Meter(Budget(calls=40 + 125), {}, held=40)
    asyncio.run(searched(work, world, study=study))
    world.meter.pay("task", Total(40))
    world.meter.budget, world.meter.held = Budget(calls=40 + 270), 0
    later = asyncio.run(searched(work, world, study=study))
    fresh = asyncio.run(searched(work, Capped(ADD_UP, 1, 270)))
    rows = [[len(trial.scores) for trial in outcome.trials] for outcome in (later, fresh)]
    assert rows[1] == [45, 90, 90, 15, 15, 15]
    assert rows[0] == [45, 90, 45, 15, 15, 15], "the same blocks, less what the smaller limit bought elsewhere"
    assert later.winner.params == fresh.winner.params


@pytest.mark.parametrize("race", [True, False])
def test_no_generation_is_cut_and_a_budget_leaves_calls_for_the_play_off(race: bool) -> None:
    train, sizes, met = [row(TRAIN_FROM + i) for i in range(80)], set(), []
    for seed, cap in product(range(6), (550, 650, 750)):
        work = replace(problem(40, seed), train=train, trials=1_000, race=race)
        world = Capped(ADD_UP, seed, cap)
        outcome = asyncio.run(searched(work, world))
        assert outcome.stopped == f"--max-calls {cap}" and world.meter.total.calls <= cap
        assert all(trial.lost or len(trial.scores) == 40 for trial in outcome.trials), "each was raced to its end"
        slots = [trial.slot for trial in outcome.trials]
        assert slots == list(range(len(slots)))
        sizes.add(len(slots) % 8)
        met += [played.rows for played in outcome.playoff]
    assert len(sizes) > 2, "the last generation has the size that fits"
    assert met and min(met) >= 16, "whoever dev cannot tell apart has met"


class Dying(Capped):
    """A world that fails once it has answered so many requests."""

    fails_at = 0

    async def complete(self, body: Mapping[str, Any], role: str, sample: int = 0) -> Completion:
        if len(self.known) == self.fails_at:
            raise ConnectionError
        return await super().complete(body, role, sample)


@pytest.mark.parametrize("fails_at", [120, 300, 380, 440, 520, 600])
def test_a_search_under_a_budget_is_the_same_after_a_failure(fails_at: int) -> None:
    def search(world: Capped, study: StoredStudy) -> Outcome:
        work = replace(problem(40, 1), train=[row(TRAIN_FROM + i) for i in range(80)], trials=1_000)
        return asyncio.run(searched(work, world, study=study))

    whole = search(Capped(ADD_UP, 1, 650), StoredStudy(InMemoryStorage(), "whole"))
    world, study = Dying(ADD_UP, 1, 650), StoredStudy(InMemoryStorage(), "failed")
    world.fails_at = fails_at
    with pytest.raises(ConnectionError):
        search(world, study)
    world.fails_at = 0
    again = search(world, study)
    assert again.trials == whole.trials and again.winner == whole.winner and again.playoff == whole.playoff


class Frozen:
    """A filling that costs nothing: the first process to ask freezes these pools for the study."""

    most_calls = 0

    def __init__(self, study: StoredStudy, pools: Pools) -> None:
        self.study, self.pools = study, pools

    def frozen(self) -> Pools | None:
        noted = self.study.pools()
        return None if noted is None else Pools.from_json(noted)

    async def fill(self) -> Pools:
        return Pools.from_json(self.study.freeze_pools(self.pools.to_json()))


class Overtaken(World):
    """A world in which another worker searches from start to end while the first request is under way."""

    other: Search | None = None

    async def complete(self, body: Mapping[str, Any], role: str, sample: int = 0) -> Completion:
        if self.other:
            other, self.other = self.other, None
            await other.run()
        return await super().complete(body, role, sample)


def test_who_meets_trials_of_another_worker_knows_their_names() -> None:
    whole, world = problem(20, 3), Overtaken(0.5, 3)
    study, client = StoredStudy(InMemoryStorage(), "shared"), cast(Client, world)
    plain = [name for name in whole.pools.demo_sets if name != "labeled-7"]
    given = replace(
        whole.pools, instructions=whole.pools.instructions[:1], demo_sets={n: whole.pools.demo_sets[n] for n in plain}
    )
    best: list[Prompt] = []

    def follow(work: Problem, progress: Progress) -> None:
        assert progress.best
        best.append(work.prompt(progress.best.params))

    mine, theirs = (
        Search(replace(whole, pools=given, worker=worker), client, study, follow, Frozen(study, whole.pools))
        for worker in range(2)
    )
    world.other = theirs
    outcome = asyncio.run(mine.run())
    foreign = [t for t in outcome.trials if t.params["instruction"] or t.params["demos"] == "labeled-7"]
    assert foreign and {t.worker for t in foreign} == {1}, "mine ended before its own pools were filled"
    assert mine.problem.pools == whole.pools
    assert [mine.problem.prompt(t.params).id for t in foreign] == [t.prompt_id for t in foreign]
    assert len(best) == 3, "after two generations of theirs and one of mine"


def test_a_clearly_worse_trial_is_lost_and_an_equal_one_is_not() -> None:
    rng = random.Random(0)
    good = {row: float(rng.random() < 0.7) for row in range(48)}
    bad = {row: score * (row % 3 == 0) for row, score in good.items()}
    assert lost(bad, good) and not lost(good, good) and not lost(good, bad)
    zeros, ones = dict.fromkeys(range(16), 0.0), dict.fromkeys(range(16), 1.0)
    assert lost(zeros, ones)
    assert not lost({row: zeros[row] for row in range(15)}, ones), "so few rows drop none"


def test_a_trial_that_ended_early_is_judged_by_its_paired_difference() -> None:
    incumbent = dict.fromkeys(range(10), 0.5) | {0: 1.0, 1: 1.0}
    assert estimate({0: 0.9, 1: 0.9}, incumbent) == pytest.approx(0.6 - 0.1)


def test_the_cheapest_within_noise_wins_but_not_one_that_is_worse() -> None:
    rng = random.Random(1)
    best = [float(rng.random() < 0.6) for _ in range(100)]
    same = [*best[1:], best[0]]
    worse = [score * (row % 5 > 0) for row, score in enumerate(best)]
    dear, cheap, bad = trial(0, best, 900), trial(1, same, 90), trial(2, worse, 9)
    assert choose([dear, cheap, bad]).slot == 1
    assert choose([dear, bad]).slot == 0


def test_the_pareto_front_holds_what_nothing_beats_in_score_and_tokens() -> None:
    trials = [trial(0, [1.0], 300), trial(1, [0.5], 100), trial(2, [0.4], 200), trial(3, [0.5], 90)]
    assert [t.slot for t in pareto(trials)] == [3, 0]


@pytest.mark.parametrize(("tried", "free"), [(3, 2), (16, 4)])
def test_most_suggestions_stay_with_the_best_layout_and_all_repeat_for_a_seed(tried: int, free: int) -> None:
    space: Space = {"layout": ("chat", "raw", "json"), "demos": ("a", "b"), "k": (1, 2)}
    layouts = [str(space["layout"][n % 3]) for n in range(tried)]
    values = {"chat": 0.1, "raw": 0.5, "json": 0.2}
    history = [
        Trial(0, n, {"layout": one, "demos": "a", "k": 1}, str(n), values[one], {0: 0.0}, False, 0, 1.0, 1.0)
        for n, one in enumerate(layouts)
    ]
    asked = suggest(space, history, 24, "seed")
    assert all(params["layout"] == "raw" for n, params in enumerate(asked) if n % free)
    assert {params["layout"] for params in asked[::free]} != {"raw"}
    assert asked == suggest(space, history, 24, "seed")
