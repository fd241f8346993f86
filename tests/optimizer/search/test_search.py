"""Racing and the choice: how rows are evaluated, who goes on, and which finalist wins."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any, cast

import pytest
from optuna.storages import InMemoryStorage

from optimizer.search.candidate import Candidate, Choices
from optimizer.search.growth import SpaceGrowth
from optimizer.search.pace import SearchProgress
from optimizer.search.playoff import SearchOutcome, choose_winner, pareto
from optimizer.search.race import blocks, fitted_blocks, is_worse, max_rows, projected_score, survivors
from optimizer.search.search import Search
from optimizer.search.space import Addition, Space
from optimizer.search.study import StoredStudy, Trial
from optimizer.search.suggest import suggest_candidates
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import Limit
from promptstill.endpoint.client import Client
from promptstill.endpoint.store import Completion
from promptstill.errors import UserError
from promptstill.prompt.prompt import Prompt
from tests.support.world import ADD_UP, TRAIN_FROM, CappedWorld, Dying, World, run_search, world_row, world_task

START = Candidate("chat", "none", 1, 0)
ONE: Choices = {"instruction": (0,), "reasoning": ("off",)}


def trial(slot: int, scores: list[float], tokens: float) -> Trial:
    by_row = dict(enumerate(scores))
    return Trial(0, slot, START, f"p{slot}", sum(scores) / len(scores), by_row, False, 0, tokens, 0.0)


@pytest.mark.parametrize(
    ("rows", "ends"),
    [(1, [1]), (12, [12]), (40, [16, 40]), (54, [16, 54]), (110, [16, 48, 110]), (800, [100, 300, 800])],
)
def test_blocks_cover_all_rows_and_grow(rows: int, ends: list[int]) -> None:
    made = blocks(rows)
    assert [block.stop for block in made] == ends
    assert [row for block in made for row in block] == list(range(rows))


def test_a_generation_is_halved_twice_and_never_emptied() -> None:
    assert [survivors(8, 0), survivors(8, 1), survivors(3, 0), survivors(1, 0), survivors(1, 1)] == [4, 2, 2, 1, 1]


def test_a_generation_of_eight_buys_less_than_half() -> None:
    assert max_rows(8, 110) == 8 * 16 + 4 * 32 + 2 * 62 <= 0.5 * 8 * 110
    assert max_rows(3, 12) == 36, "one block is all of dev"


@pytest.mark.parametrize(
    ("calls", "ends"), [(50, [8]), (115, [8, 14, 26]), (243, [10, 30, 70]), (350, [14, 43, 100]), (359, [14, 44, 100])]
)
def test_a_race_fitted_to_few_calls_looks_three_times(calls: int, ends: list[int]) -> None:
    made = fitted_blocks(8, 100, calls)
    assert [block.stop for block in made] == ends and made[0].start == 0
    each = [going * len(block) for going, block in zip((8, 4, 2), made, strict=False)]
    assert len(made) == 1 or 0.9 * calls < sum(each) <= calls < max_rows(8, 100)


@pytest.mark.parametrize("race", [True, False])
def test_no_generation_is_cut_and_a_limit_leaves_calls_for_the_play_off(race: bool) -> None:
    train, sizes, met = [world_row(TRAIN_FROM + i) for i in range(80)], set(), []
    for seed, cap in product(range(6), (550, 650, 750)):
        work = replace(world_task(40, seed), train=train, trials=1_000, race=race)
        world = CappedWorld(ADD_UP, seed, cap)
        outcome = asyncio.run(run_search(work, world))
        assert outcome.stopped == Limit("calls", cap) and world.allowance.total.calls <= cap
        if race:
            assert cap - sum(len(trial.scores) for trial in outcome.trials) >= 48, "left to complete and to compare"
        whole = {trial.prompt_id for trial in outcome.finalists}
        scored = sum(40 if trial.prompt_id in whole else len(trial.scores) for trial in outcome.trials)
        scored += sum(played.rows for played in outcome.playoff)
        assert scored >= 0.9 * world.allowance.total.calls, "no generation was begun in vain"
        slots = [trial.slot for trial in outcome.trials]
        assert slots == list(range(len(slots)))
        sizes.add(len(slots) % 8)
        met += [played.rows for played in outcome.playoff]
    assert len(sizes) > 2, "the last generation has the size that fits"
    assert len(met) > 20 and min(met) > 0, "calls were left to compare whoever dev cannot tell apart"


@pytest.mark.parametrize("fails_at", [120, 300, 380, 440, 520, 560])
def test_a_search_under_a_limit_is_the_same_after_a_failure(fails_at: int) -> None:
    def search(world: CappedWorld, study: StoredStudy) -> SearchOutcome:
        work = replace(world_task(40, 1), train=[world_row(TRAIN_FROM + i) for i in range(80)], trials=1_000)
        return asyncio.run(run_search(work, world, study=study))

    whole = search(CappedWorld(ADD_UP, 1, 650), StoredStudy(InMemoryStorage(), "whole"))
    world, study = Dying(ADD_UP, 1, 650), StoredStudy(InMemoryStorage(), "failed")
    world.fails_at = fails_at
    with pytest.raises(ConnectionError):
        search(world, study)
    world.fails_at = 0
    again = search(world, study)
    assert again.trials == whole.trials and again.winner == whole.winner and again.playoff == whole.playoff


def test_all_starters_are_in_the_first_race_and_none_is_left_for_a_race_of_its_own() -> None:
    task = world_task(40, 1)
    task, done = replace(task, space=replace(task.space, given=5), trials=24), [0]
    search = Search(task, cast(Client, World(0.5, 1)), memory_study(), lambda _, progress: done.append(progress.done))
    asyncio.run(search.run())
    assert done[1] == len(task.starters()) == 9 and min(b - a for a, b in pairwise(done)) > 1


def test_trials_of_an_earlier_part_are_not_paid_again_where_others_would_be_suggested_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task, study, world = replace(world_task(40, 1), trials=40), memory_study(), CappedWorld(ADD_UP, 1, 10_000)
    monkeypatch.setattr("optimizer.search.suggest.FITTED_TRIALS", 1_000)
    first = asyncio.run(run_search(task, world, study=study))
    calls = world.allowance.total.calls
    monkeypatch.undo()
    again = asyncio.run(run_search(task, world, study=study))
    assert again.trials == first.trials and world.allowance.total.calls == calls


def memory_study() -> StoredStudy:
    return StoredStudy(InMemoryStorage(), "in memory")


class AddsRest:
    """A source that costs nothing, and adds after the first race what `whole` has more."""

    def __init__(self, whole: Space) -> None:
        self.whole = whole

    def count(self, number: int, earlier: Sequence[Addition] | None = None) -> int:
        return int(number == 1)

    def describe(self, count: int) -> str:
        return "the rest"

    def max_calls(self, count: int) -> int:
        return 0

    async def propose(self, space: Space, history: Sequence[Trial], count: int, client: Client) -> Addition:
        return Addition(self.whole.instructions, self.whole.demo_sets)


class Overtaken(World):
    """A world in which another worker searches from start to end while the first request is under way."""

    other: Search | None = None

    async def complete(self, body: Mapping[str, Any], role: str, sample: int = 0) -> Completion:
        if self.other:
            other, self.other = self.other, None
            await other.run()
        return await super().complete(body, role, sample)


def test_who_meets_trials_of_another_worker_knows_their_names(tmp_path: Path) -> None:
    whole, world = world_task(20, 3), Overtaken(0.5, 3)
    study, client = StoredStudy(InMemoryStorage(), "shared"), cast(Client, world)
    plain = {name: one for name, one in whole.space.demo_sets.items() if name != "labeled-7"}
    given = replace(whole.space, instructions=whole.space.instructions[:1], demo_sets=plain)
    best: list[Prompt] = []

    def follow(task: SearchTask, progress: SearchProgress) -> None:
        assert progress.best
        best.append(task.prompt(progress.best.candidate))

    async def search() -> tuple[Search, SearchOutcome]:
        searches = []
        for worker in range(2):
            growth = SpaceGrowth(study, {"rest": AddsRest(whole.space)}, client, tmp_path / f"{worker}.json")
            task = replace(whole, space=await growth.start(given), worker=worker)
            searches.append(Search(task, client, study, follow, growth))
        mine, world.other = searches
        return mine, await mine.run()

    mine, outcome = asyncio.run(search())
    foreign = [t for t in outcome.trials if t.candidate.instruction or t.candidate.demos == "labeled-7"]
    assert foreign and {t.worker for t in foreign} == {1}, "mine ended before its own sources were asked"
    assert mine.task.space.choices == {**whole.space.choices, "demos": [*plain, "labeled-7"]}
    assert [mine.task.prompt(t.candidate).id for t in foreign] == [t.prompt_id for t in foreign]
    assert len(best) == 3, "after two generations of theirs and one of mine"


def test_a_resumed_generation_knows_what_another_worker_added_meanwhile(tmp_path: Path) -> None:
    whole, study, client = replace(world_task(20, 3), trials=7), memory_study(), cast(Client, World(0.5, 3))
    given = replace(whole.space, instructions=whole.space.instructions[:1])

    def follow(task: SearchTask, progress: SearchProgress) -> None:
        assert [task.prompt(one.candidate).id for one in study.trials()]

    async def search() -> None:
        growths = [
            SpaceGrowth(study, {"rest": AddsRest(whole.space)}, client, tmp_path / f"{n}.json") for n in range(2)
        ]
        mine = replace(whole, space=await growths[0].start(given))
        theirs = replace(whole, space=await growths[1].start(given), worker=1, trials=24)
        await Search(mine, client, study, follow, growths[0]).run()
        await Search(theirs, client, study, follow, growths[1]).run()
        await Search(replace(mine, trials=60), client, study, follow, growths[0]).run()

    asyncio.run(search())
    assert any(one.candidate.instruction for one in study.trials() if one.worker)


def test_a_clearly_worse_trial_is_lost_and_an_equal_one_is_not() -> None:
    rng = random.Random(0)
    good = {row: float(rng.random() < 0.7) for row in range(48)}
    bad = {row: score * (row % 3 == 0) for row, score in good.items()}
    assert is_worse(bad, good) and not is_worse(good, good) and not is_worse(good, bad)
    zeros, ones = dict.fromkeys(range(16), 0.0), dict.fromkeys(range(16), 1.0)
    assert is_worse(zeros, ones)
    assert not is_worse({row: zeros[row] for row in range(15)}, ones), "so few rows drop none"


def test_a_trial_that_ended_early_is_judged_by_its_paired_difference() -> None:
    incumbent = dict.fromkeys(range(10), 0.5) | {0: 1.0, 1: 1.0}
    assert projected_score({0: 0.9, 1: 0.9}, incumbent) == pytest.approx(0.6 - 0.1)


def test_the_cheapest_within_noise_wins_but_not_one_that_is_worse() -> None:
    rng = random.Random(1)
    best = [float(rng.random() < 0.6) for _ in range(100)]
    same = [*best[1:], best[0]]
    worse = [score * (row % 5 > 0) for row, score in enumerate(best)]
    dear, cheap, bad = trial(0, best, 900), trial(1, same, 90), trial(2, worse, 9)
    assert choose_winner([dear, cheap, bad]).slot == 1
    assert choose_winner([dear, bad]).slot == 0
    lost = (sum(best) - sum(worse)) / 100
    assert choose_winner([dear, bad], within=lost + 0.001).slot == 2 and lost > 0.05
    assert choose_winner([dear, bad], within=lost - 0.01).slot == 0


def test_prompts_that_are_too_long_lose_after_their_first_rows_and_none_of_them_wins() -> None:
    """The world's fixed demos cost tokens by their number."""
    free = asyncio.run(run_search(replace(world_task(40, 1), trials=24), World(0.5, 1)))
    tokens = sorted(trial.prompt_tokens for trial in free.trials)
    most = tokens[len(tokens) // 2]
    held = asyncio.run(run_search(replace(world_task(40, 1), trials=24, most_tokens=most), World(0.5, 1)))
    over = [trial for trial in held.trials if trial.prompt_tokens > most]
    assert over and all(trial.lost and trial.value == 0.0 and len(trial.scores) == 16 for trial in over)
    assert all(trial.prompt_tokens <= most for trial in [*held.finalists, held.winner])
    with pytest.raises(UserError, match="No candidate's prompts have at most 1 tokens"):
        asyncio.run(run_search(replace(world_task(40, 1), most_tokens=1), World(0.5, 1)))


def test_the_pareto_front_holds_what_nothing_beats_in_score_and_tokens() -> None:
    trials = [trial(0, [1.0], 300), trial(1, [0.5], 100), trial(2, [0.4], 200), trial(3, [0.5], 90)]
    assert [t.slot for t in pareto(trials)] == [3, 0]


@pytest.mark.parametrize(("tried", "free"), [(3, 2), (16, 4)])
def test_most_suggestions_stay_with_the_best_layout_and_all_repeat_for_a_seed(tried: int, free: int) -> None:
    space: Choices = {**ONE, "layout": ("chat", "raw", "json"), "demos": ("a", "b"), "k": (1, 2)}
    layouts = [str(space["layout"][n % 3]) for n in range(tried)]
    values = {"chat": 0.1, "raw": 0.5, "json": 0.2}
    history = [
        Trial(0, n, Candidate(one, "a", 1, 0), str(n), values[one], {0: 0.0}, False, 0, 1.0, 1.0)
        for n, one in enumerate(layouts)
    ]
    asked = suggest_candidates(space, history, 24, "seed")
    assert all(candidate.layout == "raw" for n, candidate in enumerate(asked) if n % free)
    assert {candidate.layout for candidate in asked[::free]} != {"raw"}
    assert asked == suggest_candidates(space, history, 24, "seed")


def test_with_eight_trials_of_the_best_layout_its_demos_are_drawn_from_them_alone() -> None:
    space: Choices = {**ONE, "layout": ("chat", "raw"), "demos": tuple("abcdefgh"), "k": (1, 2)}
    tried = [("raw", demos) for demos in "abcdefgh"] + [("chat", demos) for demos in "cdefghcdefgh"]
    values = [
        0.9 if one == ("raw", "a") else 0.1 if one[0] == "raw" else 0.8 for one in tried
    ]  # a is good in raw alone
    history = [
        Trial(0, n, Candidate(*one, 1, 0), str(n), value, {0: 0.0}, False, 0, 1.0, 1.0)
        for n, (one, value) in enumerate(zip(tried, values, strict=True))
    ]
    demos = [one.demos for seed in range(8) for one in suggest_candidates(space, history, 8, f"seed {seed}")[1:4]]
    assert demos.count("a") > len(demos) / 2
