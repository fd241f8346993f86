"""The play-off: who enters, which train rows are fresh to all of them, and that it mends a lucky lead on dev."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import dspy
import pytest

from optimizer.search.candidate import Candidate
from optimizer.search.playoff import SearchOutcome, contenders, play_off, playoff_rows
from optimizer.search.sources.given import demo_pool, labeled_sets, nearest_sets
from optimizer.search.space import NO_DEMOS, DemoSet, Space
from optimizer.search.study import Trial
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import Allowance, Limit, Limits
from promptstill.endpoint.client import Client
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.stores import file_url, open_calls
from promptstill.prompt.layouts.task import Task
from promptstill.task.examples import Example
from promptstill.task.metrics import exact_match
from tests.support.fake import Body, FakeEndpoint

ROWS = 64


class Code(dspy.Signature):
    """Say the code."""

    word: str = dspy.InputField()
    code: str = dspy.OutputField()


def examples(name: str, count: int, group: str | None = None) -> list[Example]:
    rows = [
        {"word": f" {name} word {i} of {i % 8}", "code": "yes", "passage": f"{name}-{i // 4}"} for i in range(count)
    ]
    return [
        Example(row["word"], row["word"], {"word": row["word"]}, {"code": "yes"}, row, row[group or "word"])
        for row in rows
    ]


def problem(group: str | None = "passage") -> SearchTask:
    train, task = examples("train", ROWS, group), Task(Code, "fake", 16)
    sets = {NO_DEMOS: DemoSet(), **labeled_sets(train, 4, 0), **nearest_sets(task)}
    instructions = ("Say the code.", "Guess the code.")
    space = Space(demo_pool(train), (1, 4), 4, ("chat",), structured=True, instructions=instructions, demo_sets=sets)
    return SearchTask(task, space, train, examples("dev", 40), exact_match("code"), seed=0, trials=8)


def trial(given: SearchTask, slot: int, right: int, demos: str = "labeled-0", instruction: int = 0) -> Trial:
    """A complete trial that was right on `right` dev rows, others for each slot."""
    candidate = Candidate("chat", demos, 4, instruction)
    scores = {row: float((row + 7 * slot) % len(given.dev) < right) for row in range(len(given.dev))}
    name = given.prompt(candidate).id
    return Trial(0, slot, candidate, name, right / len(given.dev), scores, False, 0, 10.0 + slot, 1.0)


def test_only_those_that_dev_cannot_tell_apart_enter() -> None:
    given = problem()
    trials = [trial(given, slot, right) for slot, right in enumerate((20, 21, 5))]
    assert [one.slot for one in contenders(trials)] == [1, 0]
    assert [one.slot for one in contenders(trials[2:])] == [2]


def test_fresh_rows_share_no_group_with_what_an_entrant_shows() -> None:
    given = problem()
    entrants = [trial(given, n, 20, demos=f"labeled-{n}") for n in range(2)]
    rows = playoff_rows(given, entrants)
    demos = [demo for n in range(2) for demo in given.space.demo_sets[f"labeled-{n}"].demos[:4]]
    shown = {row.row["passage"] for row in given.train if row.inputs["word"].strip() in {d["word"] for d in demos}}
    assert 16 <= len(rows) <= ROWS // 2
    assert shown and not shown & {row.row["passage"] for row in rows}
    assert rows == playoff_rows(given, entrants), "the same rows after a kill"


def test_a_row_is_asked_without_its_own_group_and_with_all_others(tmp_path: Path) -> None:
    given = problem()
    able = [trial(given, slot, 20, demos="nearest", instruction=slot) for slot in range(2)]
    rows, passages = playoff_rows(given, able), {row.inputs["word"].strip(): row.group for row in given.train}
    asked: list[tuple[str, set[str]]] = []

    def listen(body: Body) -> str:
        *demos, question = re.findall(r"train word \d+ of \d", str(body["messages"]))
        asked.append((passages[question], {passages[demo] for demo in demos}))
        return "yes"

    played(given, able, tmp_path, answer=listen)
    shown = set().union(*(groups for _, groups in asked))
    assert asked and all(group not in groups for group, groups in asked)
    assert shown & {row.group for row in rows}, "a row that is asked may serve another as its demo"


def played(
    given: SearchTask,
    finalists: list[Trial],
    folder: Path,
    limits: Limits | None = None,
    answer: Callable[[Body], str] | None = None,
) -> tuple[SearchOutcome, int]:
    """The outcome at an endpoint that knows train's words only when told to guess; and the calls it took."""

    def knows(body: Body) -> str:
        return "yes" if "Guess" in str(body["messages"][0]["content"]) else "no"

    async def work(fake: FakeEndpoint) -> SearchOutcome:
        with closing(open_calls(file_url(folder / "calls.db"))) as store:
            async with Client(Endpoint(fake.base_url, "fake"), store, Allowance(limits)) as client:
                return await play_off(given, SearchOutcome(finalists, finalists, finalists[0], None), client, told)

    def told(entrants: int, rows: int) -> None:
        assert entrants == len(finalists) and rows >= 16, "told only of a play-off that there is"

    with FakeEndpoint(answer or knows) as fake:
        return asyncio.run(work(fake)), sum(fake.calls.values())


def test_a_lucky_lead_on_dev_is_lost_in_the_play_off(tmp_path: Path) -> None:
    given = problem()
    lucky, able = trial(given, 0, 21), trial(given, 1, 20, instruction=1)
    outcome, calls = played(given, [lucky, able], tmp_path)
    assert outcome.winner is able and outcome.stopped is None
    assert {(one.dev, one.train) for one in outcome.playoff} == {(0.525, 0.0), (0.5, 1.0)}
    assert calls == sum(one.rows for one in outcome.playoff) <= ROWS, "who lost by the paired test is asked no further"


def test_a_clear_winner_is_compared_with_nobody(tmp_path: Path) -> None:
    given = problem()
    clear, other = trial(given, 0, 39), trial(given, 1, 5)
    outcome, calls = played(given, [clear, other], tmp_path)
    assert outcome.winner is clear and outcome.playoff == () and calls == 0


@pytest.mark.parametrize(("calls", "rows", "winner"), [(1, 0, 0), (21, 10, 1), (31, 15, 1)])
def test_where_a_limit_ends_it_the_rows_that_all_have_answered_count(
    tmp_path: Path, calls: int, rows: int, winner: int
) -> None:
    given = problem()
    lucky, able = trial(given, 0, 21), trial(given, 1, 20, instruction=1)
    outcome, paid = played(given, [lucky, able], tmp_path, Limits(calls=calls))
    assert outcome.stopped == Limit("calls", calls) and outcome.winner.slot == winner
    assert {one.rows for one in outcome.playoff} == {rows} and paid == calls
    assert outcome.unplayed == (rows == 0)


@pytest.mark.parametrize("group", [None, "passage"])
def test_too_few_fresh_rows_are_no_play_off(tmp_path: Path, group: str | None) -> None:
    given = problem(group)
    few: Any = SearchTask(**{**vars(given), "train": given.train[:20]})
    outcome, calls = played(few, [trial(few, 0, 21), trial(few, 1, 20, instruction=1)], tmp_path)
    assert calls == 0 and outcome.winner.slot == 0
