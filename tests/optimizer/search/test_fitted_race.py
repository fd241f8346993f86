"""The first race under a limit: fitted to what the limit pays for, whether that is calls, tokens or minutes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

import pytest
from optuna.storages import InMemoryStorage

from optimizer.search.calibrating import CandidateCalibrator
from optimizer.search.fitted_race import FirstRace, LaterRace, fit_generation
from optimizer.search.growth import SpaceGrowth
from optimizer.search.playoff import SearchOutcome, playoff_calls
from optimizer.search.race import average
from optimizer.search.racing_trial import RacingTrial, complete_finalists, drop_losers, finish_trials
from optimizer.search.ranking import best_of_each
from optimizer.search.space import bias_key
from optimizer.search.study import Generation, StoredStudy, Trial
from promptstill.endpoint.allowance import Allowance, Limit, LimitReached, Limits
from promptstill.endpoint.client import Client
from promptstill.endpoint.store import Total
from promptstill.scoring.evaluate import ScoredRow
from tests.support.world import ADD_UP, CappedWorld, Dying, run_search, world_task

BIAS = {"logit_bias": {"1": 0.5}, "logit_bias_texts": {"hot": 0.5}}


@pytest.mark.parametrize("cap", [70, 125, 200, 290])
def test_a_limit_below_a_whole_race_lets_all_starters_begin_and_the_best_go_on(cap: int) -> None:
    work, study = replace(world_task(100, 1), trials=1_000), StoredStudy(InMemoryStorage(), "small")
    world = Dying(ADD_UP, 1, cap)
    world.fails_at = cap - 20
    with pytest.raises(ConnectionError):
        asyncio.run(run_search(work, world, study=study))
    world.fails_at = 0
    outcome = asyncio.run(run_search(work, world, study=study))
    assert outcome == asyncio.run(run_search(work, CappedWorld(ADD_UP, 1, cap))), "a failure changes nothing"
    assert outcome.stopped == Limit("calls", cap) and 0.9 * cap <= world.allowance.total.calls <= cap
    rows = sorted(len(trial.scores) for trial in outcome.trials)
    assert len(rows) == len(work.starters()) and rows[0] >= 8
    assert rows[0] < rows[-3] < rows[-2] == rows[-1] == len(outcome.winner.scores)
    world.allowance.limits = Limits(calls=500)
    later = asyncio.run(run_search(work, world, study=study))
    fresh = asyncio.run(run_search(work, CappedWorld(ADD_UP, 1, 500)))
    first = slice(len(work.starters()))
    assert later.trials[first] == fresh.trials[first], "a higher limit goes on as one that was there from the start"


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_first_race_fits_a_limit_on_tokens_as_one_on_calls(share: float) -> None:
    work = replace(world_task(100, 1), trials=1_000)
    calls = int(share * work.max_rows(len(work.starters())))
    by_calls = asyncio.run(run_search(work, CappedWorld(ADD_UP, 1, calls)))
    world = CappedWorld(ADD_UP, 1, 1)
    limit = calls * mean_tokens_of(by_calls)
    world.allowance.limits = Limits(tokens=limit)
    by_tokens = asyncio.run(run_search(work, world))
    assert by_tokens.stopped and by_tokens.stopped.kind == "tokens"
    rows = sorted(len(trial.scores) for trial in by_tokens.trials)
    assert len(rows) == len(work.starters()) and rows[0] >= 8, "all begin"
    assert rows[-1] > 2 * rows[0], "and the best go on"
    assert 0.85 * limit <= world.allowance.total.tokens <= limit + 200


def mean_tokens_of(outcome: SearchOutcome) -> int:
    """A call's, in a search."""
    weighed = [(len(trial.scores), trial.tokens * len(trial.scores)) for trial in outcome.trials]
    return round(sum(tokens for _, tokens in weighed) / sum(rows for rows, _ in weighed))


def test_a_first_race_that_turns_out_cheaper_is_run_whole() -> None:
    work, world, clock = replace(world_task(100, 1), trials=6), CappedWorld(ADD_UP, 1, 1), Slowing()
    world.allowance = Allowance(Limits(minutes=10), clock=clock)
    clock.world = world
    outcome = asyncio.run(run_search(work, world))
    fresh = asyncio.run(run_search(work, CappedWorld(ADD_UP, 1, 10_000)))
    assert outcome.trials == fresh.trials


class Slowing:
    """A clock that goes by answered calls: the first 48 take four seconds each, as at a cold engine, later ones one."""

    world: CappedWorld | None = None

    def __call__(self) -> float:
        calls = self.world.allowance.total.calls if self.world else 0
        return 4.0 * min(calls, 48) + max(calls - 48, 0)


def test_a_raised_limit_counts_the_test_split_that_a_smaller_one_paid() -> None:
    work, study = replace(world_task(100, 1), trials=1_000), StoredStudy(InMemoryStorage(), "raised")
    world = CappedWorld(ADD_UP, 1, 1)
    world.allowance = Allowance(Limits(calls=40 + 125), held=40)
    asyncio.run(run_search(work, world, study=study))
    world.allowance.pay("task", Total(40))
    world.allowance.limits, world.allowance.held = Limits(calls=40 + 270), 0
    later = asyncio.run(run_search(work, world, study=study))
    fresh = asyncio.run(run_search(work, CappedWorld(ADD_UP, 1, 270)))
    rows = [[len(trial.scores) for trial in outcome.trials] for outcome in (later, fresh)]
    assert rows[1] == [45, 90, 90, 15, 15, 15]
    assert rows[0] == [45, 90, 45, 15, 15, 15], "the same blocks, less what the smaller limit paid for elsewhere"
    assert later.winner.candidate == fresh.winner.candidate


def test_a_race_that_is_stored_in_part_is_fitted_as_it_was() -> None:
    work, study = replace(world_task(100, 1), trials=1_000), StoredStudy(InMemoryStorage(), "part")
    world = CappedWorld(ADD_UP, 1, 700)
    first = FirstRace(work, cast(Client, world), study)
    starters = work.starters()
    fitted = first.fit(len(starters))
    assert fitted and not fitted.is_all and fitted.calls < 300
    for slot, candidate in enumerate(starters):
        assert first.fit(len(starters)) == fitted, "a kill may come while trials are stored"
        done = Trial(0, slot, candidate, work.prompt(candidate).id, 0.5, {0: 0.5}, False, 0, 1.0, 1.0)
        study.add(done, work.stored_choices)
    assert first.fit(len(starters)) is None


def test_a_search_that_has_ended_does_not_go_on_under_the_same_limits() -> None:
    work, study = replace(world_task(100, 1), trials=1_000), StoredStudy(InMemoryStorage(), "ended")
    world = CappedWorld(ADD_UP, 1, 1)
    world.allowance = Allowance(Limits(effort=900), held=100)
    done = asyncio.run(run_search(work, world, study=study))
    assert done.stopped is None and world.allowance.total.calls <= 800
    world.allowance.held = 0  # test was read in part, and cost less than was set aside
    again = asyncio.run(run_search(work, world, study=study))
    assert again.trials == done.trials and again.winner == done.winner
    world.allowance.limits = Limits(effort=1_400)
    assert len(asyncio.run(run_search(work, world, study=study)).trials) > len(done.trials)


@pytest.mark.parametrize("calls", [64, 100, 209, 400, 900, 2_000])
@pytest.mark.parametrize("each", [0, 32])
def test_a_later_generation_has_its_share_of_the_calls(calls: int, each: int) -> None:
    work = replace(world_task(100, 1), trials=1_000)
    generation = fit_generation(work, 8, calls + 2 * each, 1, each)
    assert 2 <= generation.size <= 8
    if generation.calls is None:
        assert work.max_rows(8) + 8 * each <= 0.35 * (calls + 2 * each)
    else:
        taken = generation.calls + each * generation.size
        assert 64 <= taken <= max(64 + 2 * each, 0.35 * (calls + 2 * each))
        assert generation.calls >= 8 * generation.size, "each is asked a first block"
    assert fit_generation(replace(work, race=False), 8, 450, 1).size == 4, "without racing each has all of dev"


def test_a_fitted_generation_goes_on_after_a_kill_as_it_began() -> None:
    study = StoredStudy(InMemoryStorage(), "noted")
    begun = study.begin_generation("0-8", Generation(5, 90))
    assert study.begin_generation("0-8", Generation(8)) == begun == study.generation("0-8") == Generation(5, 90)
    study.first_note("generation 0-16", "3")
    assert study.generation("0-16") == Generation(3), "of an earlier version"
    assert study.generation("0-24") is None


def test_a_survivor_of_few_rows_is_held_against_the_best_of_many() -> None:
    work = world_task(100, 1)
    easy = dict.fromkeys(range(100), 0.8) | dict.fromkeys(range(32), 0.9)
    new = RacingTrial(1, work.starters()[1], work.prompt(work.starters()[1]))
    new.results = {row: ScoredRow(work.dev[row], 0.85, "", {}, None, 1, 0, 1, 0.0) for row in range(32)}
    (stored,) = finish_trials([new, RacingTrial(2, work.starters()[2], new.prompt)], 0, easy)
    assert stored.value == pytest.approx(average(easy) - 0.05), "rows that are easy for all make none better"


def test_who_was_read_on_more_rows_is_held_to_no_harder_ones() -> None:
    """The second is better on the rows of both, and those that it alone has are hard."""
    work = world_task(100, 1)
    few, many = (RacingTrial(slot, work.starters()[slot], work.prompt(work.starters()[slot])) for slot in (1, 2))
    few.results = {row: ScoredRow(work.dev[row], 0.8, "", {}, None, 1, 0, 1, 0.0) for row in range(8)}
    many.results = {
        row: ScoredRow(work.dev[row], 0.9 if row < 8 else 0.1, "", {}, None, 1, 0, 1, 0.0) for row in range(40)
    }
    drop_losers([few, many], {}, 1)
    assert few.lost and not many.lost


@pytest.mark.parametrize(("told", "complete"), [(100, {1, 2, 3}), (99, {1, 2})])
def test_beside_a_finalist_its_prompt_is_complete_under_a_bias_that_takes_no_call(
    told: int, complete: set[int]
) -> None:
    """Also where a limit ended what completes the others."""
    work, asked = world_task(100, 1), list[int]()
    biased = replace(work.starters()[1], calibration="full")
    work = replace(work, space=replace(work.space, biases={bias_key(work.prompt(work.starters()[1]), "full"): BIAS}))
    chosen = {1: (work.starters()[1], 100), 2: (work.starters()[2], 60), 3: (biased, 16), 4: (work.starters()[3], 60)}
    trials = [
        Trial(0, slot, one, work.prompt(one).id, 0.5, dict.fromkeys(range(rows), 0.5), slot == 3, 0, 1.0, 1.0)
        for slot, (one, rows) in chosen.items()
    ]

    async def ask(trial: RacingTrial) -> None:
        if trial.slot == 4:
            raise LimitReached(Limit("calls", 10))
        asked.append(trial.slot)
        trial.results = {row: ScoredRow(work.dev[row], 0.5, "", {}, None, 1, 0, 1, 0.0) for row in range(100)}

    async def count_told(trial: RacingTrial) -> int:
        return told

    found, reached = asyncio.run(complete_finalists(work, trials, ask, count_told))
    assert {one.slot for one in found} == complete and asked == sorted(complete - {1})
    assert reached == Limit("calls", 10)
    assert [one.slot for one in best_of_each(found)] == [1, 2], "of equals the one without a bias"


class Takes:
    """Stands where the sources and calibration do: takes all calls that it may, and notes how many these were."""

    max_calls = 32

    def __init__(self) -> None:
        self.rooms: list[float] = []

    def fit(self, generation: str, room: float, least: int = 0) -> int:
        self.rooms.append(room)
        return 0 if least else int(room)

    def is_due(self, generation: str) -> bool:
        return True


def begun_client(calls: int) -> Client:
    """One that has so many calls left, and has asked one: before the first no call's cost is known."""
    world = CappedWorld(ADD_UP, 1, calls + 1)
    world.allowance.pay("task", Total(1))
    return cast(Client, world)


@pytest.mark.parametrize("calls", [190, 260, 400, 1_500])
def test_the_sources_leave_what_the_smallest_generation_takes(calls: int) -> None:
    work, study = replace(world_task(100, 1), trials=1_000), StoredStudy(InMemoryStorage(), "shares")
    sources, bias = Takes(), Takes()
    race = LaterRace(work, begun_client(calls), study, cast(SpaceGrowth, sources), cast(CandidateCalibrator, bias))
    generation = race.fit("0-8", 8, more=True)
    assert generation.calls is not None and generation.calls >= 64, "two candidates, with their biases, are paid for"
    left = calls - playoff_calls(work, calls)
    assert sources.rooms[0] <= left / 2 and sources.rooms[0] + generation.calls + 32 * generation.size <= left
    assert race.fit("0-16", 2, more=False).calls in (None, left - int(sources.rooms[1]) - 64), "the last has the rest"


def test_a_generation_that_is_not_paid_for_is_not_begun() -> None:
    work, study = replace(world_task(100, 1), trials=1_000), StoredStudy(InMemoryStorage(), "none")
    race = LaterRace(work, begun_client(111), study, None, None)
    with pytest.raises(LimitReached):
        race.fit("0-8", 8, more=True)
