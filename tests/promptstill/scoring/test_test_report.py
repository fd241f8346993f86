"""The evaluation on test: what is told of cut replies, and what a later part of a run needs no call for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from optimizer.search.forecast import max_test_calls
from promptstill.endpoint.client import Client
from promptstill.errors import ReplyError
from promptstill.prompt.layouts.build import build_prompt
from promptstill.report.row_view import LABELS
from promptstill.scoring.evaluate import score_rows
from promptstill.scoring.rows import read_test_rows, write_test_rows
from promptstill.scoring.test_report import (
    TestReport,
    TestVerdict,
    compare_reports,
    cut_note,
    doubt_note,
    evaluate_test,
    group_note,
    summarize_results,
    uncached_calls,
    unjudged_note,
)
from promptstill.stats import Gain
from promptstill.task.open import OpenTask, open_task
from tests.support.client import run_with_client
from tests.support.fake import Body, FakeEndpoint
from tests.support.recipe_file import make_rows, write_recipe


def reply(body: Body) -> str:
    """In the form that is asked for; DSPy's default reads it at its second try alone."""
    return "a0" if len(body["messages"]) == 1 else '{"answer": "a0"}'


def finish(body: Body) -> str:
    """The winner's instruction makes for long replies to two rows, and so do DSPy's markers."""
    text = json.dumps(body["messages"])
    long = "at length" in text and any(f"q{number}" in text for number in (1, 2))
    return "length" if long else "stop"


def evaluate(opened: OpenTask, fake: FakeEndpoint, folder: Path, *, dspy: bool = True) -> TestVerdict:
    rows = opened.splits.test
    baseline, winner = (build_prompt(opened.task, "inline", text) for text in ("Tell.", "Tell at length."))

    async def work(client: Client) -> tuple[TestReport, TestReport | None, TestReport]:
        before, task = uncached_calls(opened.task, baseline, rows, client, dspy=dspy), opened.task if dspy else None
        prompts, metric = (baseline, winner), opened.recipe.metric
        reports = await evaluate_test(prompts, rows, metric, client, seed=0, dspy_task=task)
        after = uncached_calls(opened.task, baseline, rows, client, dspy=dspy)
        assert (before, after) == (max_test_calls(len(rows), dspy=dspy), len(rows))
        return reports

    return compare_reports(run_with_client(fake, folder, work), 0.5, 0)


def test_the_share_of_cut_replies_is_in_the_report_and_in_the_rows(tmp_path: Path) -> None:
    rows = [{**row, "split": ("train", "dev", "test")[n % 3]} for n, row in enumerate(make_rows(24))]
    opened = open_task(write_recipe(tmp_path, rows=rows))
    expected = {row.id for row in opened.splits.test if any(f"q{n}" in row.inputs["question"] for n in (1, 2))}
    with FakeEndpoint(reply, finish=finish) as fake:
        verdict = evaluate(opened, fake, tmp_path)
    assert verdict.dspy and verdict.baseline.cut == verdict.dspy.cut == 0.0
    assert verdict.winner.cut == len(expected) / 8 and 0 < len(expected) < 8
    assert verdict.winner.to_json()["cut"] == verdict.winner.cut and verdict.winner.parse_failures == 0.0
    write_test_rows(tmp_path / "test.jsonl", verdict)
    read = read_test_rows(tmp_path / "test.jsonl")
    assert {row.id for row in read if row.answers["winner"].cut} == expected
    assert {row.answers["winner"].remark for row in read} == {"", "cut at max_tokens"}
    assert not any(row.answers[arm].cut for row in read for arm in ("baseline", "dspy"))


def test_without_dspys_default_half_the_calls_are_held_and_nothing_is_said_of_it(tmp_path: Path) -> None:
    rows = [{**row, "split": ("train", "dev", "test")[n % 3]} for n, row in enumerate(make_rows(24))]
    with FakeEndpoint(reply) as fake:
        verdict = evaluate(open_task(write_recipe(tmp_path, rows=rows)), fake, tmp_path, dspy=False)
    assert sum(fake.calls.values()) == max_test_calls(8, dspy=False) == 16 == max_test_calls(8, dspy=True) / 2
    assert set(verdict.reports) == {"baseline", "winner"} and set(verdict.gains) == {"over_baseline"}
    write_test_rows(tmp_path / "test.jsonl", verdict)
    assert {*read_test_rows(tmp_path / "test.jsonl")[0].answers} == {"baseline", "winner"}


def test_rows_from_before_cuts_were_recorded_are_read(tmp_path: Path) -> None:
    answers = {arm: {"score": 1.0, "reply": "a", "reason": None} for arm in LABELS}
    line = {"id": "1", "inputs": {"question": "q"}, "gold": {"answer": "a"}, "answers": answers, "group": "1"}
    (tmp_path / "test.jsonl").write_text(json.dumps(line) + "\n")
    (row,) = read_test_rows(tmp_path / "test.jsonl")
    assert not row.answers["winner"].cut and row.answers["winner"].remark == ""


def test_what_was_cut_is_told_for_each_prompt_with_the_way_out() -> None:
    assert cut_note({"baseline": 0.0, "winner": 0.0}, 40) == ""
    assert cut_note({"baseline": 0.0, "DSPy default": 0.3, "winner": 0.025}, 40) == (
        "Replies cut at max_tokens, which may lack their end: DSPy default 12 of 40, winner 1 of 40. "
        "Raise it in the recipe: Recipe(max_tokens=…)."
    )


def test_answers_that_a_judge_gave_no_mark_to_are_counted(tmp_path: Path) -> None:
    opened = open_task(write_recipe(tmp_path, rows=make_rows(24)))
    rows, prompt = opened.splits.train[:4], build_prompt(opened.task, "inline", "Tell.")

    def mark(example: Any, prediction: Any) -> float:
        if example.question == rows[0].inputs["question"]:
            raise ReplyError("the reply holds no mark")
        return 1.0

    with FakeEndpoint(reply) as fake:
        found = run_with_client(fake, tmp_path, lambda client: score_rows(prompt, rows, mark, client))
    missed, marked = summarize_results(found, 0), summarize_results(found[1:], 0)
    assert missed.score.mean == 0.75 and unjudged_note({"winner": marked}) == ""
    assert unjudged_note({"baseline": missed, "winner": marked}) == (
        "Scored zero since the judge gave no mark: baseline 1 of 4."
    )


def test_what_is_shipped_hangs_on_how_many_winners_the_rows_have_measured(tmp_path: Path) -> None:
    rows = [{**row, "split": ("train", "dev", "test")[n % 3]} for n, row in enumerate(make_rows(24))]
    with FakeEndpoint(reply) as fake:
        verdict = evaluate(open_task(write_recipe(tmp_path, rows=rows)), fake, tmp_path)
    sure = replace(verdict, over_baseline=Gain(0.2, 0.05, 0.35, 0.02, 40, 40.0))
    assert sure.shipped == "winner" and replace(sure, winners=2).shipped == "winner"
    assert replace(sure, winners=3).shipped == "baseline"
    assert replace(sure, over_baseline=replace(sure.over_baseline, groups=4.9)).shipped == "baseline"


def test_the_reason_for_doubt_is_the_groups_the_interval_or_the_corrected_p_value() -> None:
    sure = Gain(0.2, 0.05, 0.35, 0.02, 40, 40.0)
    assert doubt_note(sure) == doubt_note(sure, 2) == ""
    assert doubt_note(sure, 3) == (
        "The interval of the gain is above zero, "
        "but p is 0.0600 after correction for 3 winners on these rows, above 0.05."
    )
    assert doubt_note(replace(sure, low=-0.01)) == "The interval of the gain is not above zero."
    assert doubt_note(replace(sure, groups=3.94)) == (
        "The rows cannot tell: 40 test rows of few or unequal groups count as 3.9 groups, and a claim needs 5 or more."
    )
    assert group_note(3, 3.0) == "3 test rows cannot tell: a claim needs 5 or more." and group_note(5, 5.0) == ""
