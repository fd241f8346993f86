"""Scores of rows: which failures are a zero with a reason, and which stop the run."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from promptstill.errors import InfrastructureError, ReplyError
from promptstill.prompt.layouts.build import build_prompt
from promptstill.report.row_view import ReportRow, row_views, to_report_row
from promptstill.scoring.evaluate import ScoredRow, score_rows
from promptstill.scoring.rows import read_test_rows, write_rows
from promptstill.task.metrics import exact_match
from promptstill.task.open import open_task
from promptstill.task.recipe import Metric
from tests.support.client import run_with_client
from tests.support.fake import FakeEndpoint
from tests.support.recipe_file import make_rows, write_recipe
from tests.support.waiting import eventually


def score_four(metric: Metric, folder: Path, fake: FakeEndpoint | None = None) -> list[ScoredRow]:
    """Four rows, answered by `fake` and scored by `metric`."""
    folder.mkdir(exist_ok=True)
    task = open_task(write_recipe(folder, rows=make_rows()))
    prompt = build_prompt(task.task, "json", "Tell.")
    with fake or FakeEndpoint(lambda body: '{"answer": "a0"}') as endpoint:
        return run_with_client(
            endpoint, folder, lambda client: score_rows(prompt, task.splits.train[:4], metric, client)
        )


def as_judge(metric: Metric) -> Metric:
    metric.judge = True  # type: ignore[attr-defined]  # functions may have attributes; their type has none
    return metric


def test_an_unusable_reply_is_a_zero_with_its_reason(tmp_path: Path) -> None:
    row = score_four(exact_match("answer"), tmp_path, FakeEndpoint(lambda body: "no JSON"))[0]
    assert (row.score, row.unparsed, row.reply) == (0.0, True, "no JSON")
    assert row.reason == "unparsed: the reply is no JSON object: 'no JSON'"


def test_a_refused_request_is_a_zero_with_its_reason(tmp_path: Path) -> None:
    fake = FakeEndpoint()
    fake.misbehave = lambda number: 413
    row = score_four(exact_match("answer"), tmp_path, fake)[0]
    assert row.score == 0.0 and row.unparsed and str(row.reason).startswith("refused: ") and not row.prompt_tokens


def test_a_cut_reply_that_parses_is_scored_and_recorded(tmp_path: Path) -> None:
    fake = FakeEndpoint(lambda body: '{"answer": "a0"}', finish=lambda body: "length")
    rows = score_four(lambda example, prediction: 0.5, tmp_path, fake)
    assert [(row.score, row.cut, row.reason) for row in rows] == [(0.5, True, None)] * 4
    assert not any(row.cut for row in score_four(exact_match("answer"), tmp_path / "whole"))


def test_what_the_metric_says_is_kept_with_the_row(tmp_path: Path) -> None:
    rows = score_four(lambda example, prediction: (0.5, f"not {prediction.answer}"), tmp_path)
    assert [(row.score, row.feedback) for row in rows] == [(0.5, "not a0")] * 4
    shown = to_report_rows(rows, tmp_path)
    assert {row.replies["winner"].feedback for row in shown} == {"not a0"}
    texts = row_views(shown)[0].texts
    assert [(text.name, text.text) for text in texts[-2:]] == [
        ("winner", '{"answer": "a0"}'),
        ("the metric on winner", "not a0"),
    ]
    silent = to_report_rows(score_four(exact_match("answer"), tmp_path / "silent"), tmp_path)
    assert "the metric on winner" not in {text.name for row in row_views(silent) for text in row.texts}


def to_report_rows(rows: list[ScoredRow], folder: Path) -> list[ReportRow]:
    """The rows as a report shows them, once they were written and read."""
    write_rows(folder / "rows.jsonl", {"baseline": rows, "winner": rows})
    return [to_report_row(row) for row in read_test_rows(folder / "rows.jsonl")]


def test_judges_wait_side_by_side(tmp_path: Path) -> None:
    """Each waits for the other three: called one after the other, none would ever return."""
    barrier = threading.Barrier(4)

    def wait_for_all(example: object, prediction: object) -> float:
        barrier.wait(timeout=10)
        return 1.0

    assert [row.score for row in score_four(as_judge(wait_for_all), tmp_path)] == [1.0] * 4


def test_the_threads_that_waited_for_judges_end_with_their_client(tmp_path: Path) -> None:
    used: set[threading.Thread] = set()

    def note_thread(example: object, prediction: object) -> float:
        used.add(threading.current_thread())
        return 1.0

    score_four(as_judge(note_thread), tmp_path)
    assert used and eventually(lambda: not any(thread.is_alive() for thread in used), 10)


def test_a_row_without_a_mark_is_a_zero_with_its_reason(tmp_path: Path) -> None:
    def give_no_mark(example: object, prediction: object) -> float:
        raise ReplyError("no mark")

    row = score_four(as_judge(give_no_mark), tmp_path)[0]
    assert (row.score, row.reason) == (0.0, "unjudged: no mark") and row.outputs and not row.unparsed


def test_a_dead_judge_stops_the_run(tmp_path: Path) -> None:
    def fail(example: object, prediction: object) -> float:
        raise InfrastructureError("gone")

    with pytest.raises(InfrastructureError, match="gone"):
        score_four(as_judge(fail), tmp_path)
