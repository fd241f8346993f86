"""The contest's tasks: the files that each contestant reads, and the one scorer of their answers."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

from benchmarks.contest.tasks import ROOT, TASKS, BenchTask, score_answer, write_task_files
from promptstill.task.load import load_recipe


def test_every_task_has_its_recipe() -> None:
    assert all(task.recipe.is_file() for task in TASKS) and (ROOT / "pyproject.toml").is_file()


def test_the_trec_recipe_reads_rows_of_its_form(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": "How far is it?", "label": "number"}) + "\n")
    trec = next(task for task in TASKS if task.name == "trec")
    recipe = load_recipe(str(trec.recipe), {"data": str(tmp_path / "rows.jsonl")}).recipe
    assert [row["label"] for row in recipe.examples] == ["number"]


def test_our_own_command_sees_only_one_test_row(task: BenchTask, tmp_path: Path) -> None:
    files = write_task_files(task, task.fast, tmp_path / "files")
    rows = [json.loads(line) for line in files.search_path.read_text().splitlines()]
    assert [row["split"] for row in rows].count("test") == 1
    opened = files.open("fake")
    assert [len(getattr(opened.splits, name)) for name in ("train", "dev", "test")] == [30, 20, 30]
    again = write_task_files(task, task.fast, tmp_path / "again")
    assert again.rows_path.read_bytes() == files.rows_path.read_bytes() and again.deal == files.deal
    assert write_task_files(task, (29, 20, 30), tmp_path / "fewer").deal != files.deal


def test_an_answer_is_scored_by_the_recipes_metric_and_none_is_unparsed(task: BenchTask, tmp_path: Path) -> None:
    opened = write_task_files(task, task.fast, tmp_path / "files").open("fake")
    row = opened.splits.test[0]
    assert score_answer(opened, row, row.outputs).score == 1.0
    wrong, absent, empty = (score_answer(opened, row, answer) for answer in ({"code": "c9"}, {}, None))
    assert (wrong.score, wrong.unparsed) == (0.0, False)
    assert absent.unparsed and empty.unparsed and empty.score == absent.score == 0.0


def test_a_date_of_a_peer_is_compared_as_the_text_that_rows_hold(tmp_path: Path) -> None:
    extract = BenchTask("extract", ROOT / "recipes/extract.py", None, (80, 50, 70), (60, 40, 60))
    opened = write_task_files(extract, extract.fast, tmp_path).open("fake")
    row = opened.splits.test[0]
    typed = {**row.outputs, "issued": date.fromisoformat(row.outputs["issued"])}
    assert score_answer(opened, row, typed).score == 1.0
