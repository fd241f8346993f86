"""`optimize --new`: the recipe that it writes is in order, also for rows; nothing is overwritten."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from promptstill import UserError
from promptstill.task.open import open_task
from promptstill.task.scaffold import write_scaffold, write_shipped
from promptstill.task.shipped import data_files, shipped_recipes, subject
from tests.support import ROOT


def test_a_new_recipe_is_in_order(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "optimizer", "--new", "mine.py"]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("mine.py is written. Put your rows into it, then: "), done.stderr
    assert done.stdout.endswith("optimize mine.py --check\n")
    assert open_task(str(tmp_path / "mine.py")).name == "mine"


def test_a_file_whose_name_is_no_identifier_has_the_recipe_task(tmp_path: Path) -> None:
    write_scaffold(tmp_path / "2nd try.py")
    assert open_task(str(tmp_path / "2nd try.py")).name == "task"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x = 1\n")
    with pytest.raises(UserError, match="exists already"):
        write_scaffold(tmp_path / "mine.py")
    assert (tmp_path / "mine.py").read_text() == "x = 1\n"


def test_another_suffix_is_refused_with_the_right_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Try: \S*optimize --new \S*mine\.py"):
        write_scaffold(tmp_path / "mine.txt")


MAIL_HEADER = ["Mail ID", "Sent", "Customer ID", "Subject", "Mail text", "class"]
MAIL_LABELS = ('to "bill"', "bug {x}", "back\\slash")


def mails(count: int = 60) -> list[list[str]]:
    """Sixty mails as a spreadsheet exports them: semicolons, local dates, empty subjects, a label spelled otherwise."""
    rows = []
    for n in range(count):
        label = MAIL_LABELS[n % 3].upper() if n == 7 else "" if n == 8 else MAIL_LABELS[n % 3]
        subject = "" if n % 10 == 0 else f"Thing {n}"
        text = f'Dear all,\nabout thing number {n}: it is "{n * n}"; thank you.'
        rows.append([f"M{n:03}", f"{n % 28 + 1:02}.04.2026", f"c{n % 20}", subject, text, label])
    return rows


def write_csv(path: Path, rows: list[list[str]], header: list[str] = MAIL_HEADER) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=";").writerows([header, *rows])


def run_new(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "optimizer", *words]
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_a_recipe_for_rows_is_in_order_and_tells_what_was_found(tmp_path: Path) -> None:
    write_csv(tmp_path / "mails.csv", [*mails(), mails()[11]])
    done = run_new(tmp_path, "--new", "sub/mine.py", "--from", "mails.csv")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:9] == [
        "mails.csv: 61 rows",
        "in: Subject (text), Mail text (text)",
        'out: class (3 labels: back\\slash, to "bill" or bug {x})',
        "read as another spelling of a label: 'BUG {X}'",
        "metric: exact_match",
        "left out: Mail ID (codes), Sent (dates), Customer ID (codes)",
        "group: rows with the same Customer ID stay in one split",
        "1 row without class, for distillation",
        "1 row equal to another",
    ]
    assert lines[9].startswith("sub/mine.py is written.") and lines[9].endswith("optimize sub/mine.py --check")
    opened = open_task(str(tmp_path / "sub" / "mine.py"))
    assert opened.name == "mine" and [field.name for field in opened.task.inputs] == ["Subject", "mail_text"]
    assert sorted(opened.task.outputs[0].choices or []) == sorted(MAIL_LABELS)
    assert opened.recipe.group == "customer_id" and opened.splits.duplicates == 1
    assert opened.recipe.metric.__name__ == "exact_match(class_)"
    text = (tmp_path / "sub" / "mine.py").read_text()
    assert 'data: str = "../mails.csv"' in text and '"""Read the subject and the mail text and give the class' in text


@pytest.mark.parametrize(
    ("output", "kind", "metric"),
    [
        (lambda n: n % 3 - 1, {"type": "integer", "enum": [-1, 0, 1]}, "is_right"),
        (lambda n: n * 7919 % 1000, {"type": "integer"}, "exact_match(score)"),
        (lambda n: n / 4 + 0.5, {"type": "number"}, "is_right"),
        (lambda n: n % 2 == 0, {"type": "boolean"}, "exact_match(score)"),
        (lambda n: f"2026-04-{n % 28 + 1:02}", {"type": "string", "format": "date"}, "exact_match(score)"),
        (lambda n: f"a reply with the number {n}", {"type": "string"}, "token_f1(score)"),
    ],
)
@pytest.mark.parametrize("kind_of_file", ["csv", "jsonl"])
def test_the_type_and_the_metric_follow_the_values(
    output: Any, kind: dict[str, Any], metric: str, kind_of_file: str, tmp_path: Path
) -> None:
    rows = [{"text": f"this is text number {n}", "score": output(n)} for n in range(40)]
    data = tmp_path / f"rows.{kind_of_file}"
    if kind_of_file == "csv":
        write_csv(data, [[str(value) for value in row.values()] for row in rows], ["text", "score"])
    else:
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_scaffold(tmp_path / "mine.py", data)
    opened = open_task(str(tmp_path / "mine.py"))
    assert (opened.task.outputs[0].type, opened.recipe.metric.__name__) == (kind, metric)


def test_rows_need_a_new_recipe_and_two_columns_and_a_known_form(tmp_path: Path) -> None:
    write_csv(tmp_path / "one.csv", [["a"], ["b"]], ["text"])
    (tmp_path / "rows.xlsx").write_bytes(b"PK")
    alone = run_new(tmp_path, "--from", "one.csv")
    assert alone.returncode == 2 and "--from needs --new." in alone.stderr
    assert "optimize --new FILE.py --from one.csv" in alone.stderr
    for name, message in (("one.csv", "has 1 column, text"), ("rows.xlsx", "neither .csv nor .jsonl")):
        with pytest.raises(UserError, match=message):
            write_scaffold(tmp_path / "mine.py", tmp_path / name)
    assert not (tmp_path / "mine.py").exists()


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_a_copy_of_a_shipped_recipe_is_in_order_where_it_was_written(name: str, tmp_path: Path) -> None:
    recipe = shipped_recipes()[name]
    lines = write_shipped(tmp_path / "sub" / "mine.py", name)
    assert lines[0] == f"{tmp_path / 'sub' / 'mine.py'} is written, a copy of the recipe {name}: {subject(recipe)}"
    written = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert len(written) == len(lines) == 1 + len(data_files(recipe))
    assert (tmp_path / "sub" / "mine.py").read_bytes() == recipe.read_bytes()
    if name != "hub":  # which asks the hub
        judge = {"judge_url": "http://127.0.0.1:1/v1", "judge_model": "m"}
        opened = open_task(str(tmp_path / "sub" / "mine.py"), parameters=judge if name == "judge" else {})
        there = open_task(str(recipe), parameters=judge if name == "judge" else {})
        assert opened.splits.digests() == there.splits.digests()


def test_the_command_copies_a_recipe_and_says_what_it_wrote(tmp_path: Path) -> None:
    done = run_new(tmp_path, "--new", "mine.py", "--like", "tickets")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "mine.py is written, a copy of the recipe tickets: Route a support ticket to the team that should answer it.",
        "data/tickets.jsonl is written: 510 rows",
    ]
    assert len(lines) == 3 and lines[2].endswith("optimize mine.py --check")
    checked = run_new(tmp_path, "mine.py", "--check")
    assert checked.returncode == 0 and "mine.py: the recipe tickets is in order" in checked.stdout


def test_a_copy_overwrites_nothing_and_keeps_equal_data(tmp_path: Path) -> None:
    write_shipped(tmp_path / "a.py", "qa")
    assert (
        write_shipped(tmp_path / "b.py", "judge")[1] == f"{tmp_path / 'data' / 'qa.jsonl'} is there already: 512 rows"
    )
    with pytest.raises(UserError, match=r"a\.py exists already"):
        write_shipped(tmp_path / "a.py", "tickets")
    assert not (tmp_path / "data" / "tickets.jsonl").exists()
    (tmp_path / "data" / "tickets.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"tickets\.jsonl exists already"):
        write_shipped(tmp_path / "c.py", "tickets")
    assert not (tmp_path / "c.py").exists() and (tmp_path / "data" / "tickets.jsonl").read_text() == "{}\n"


def test_a_copy_needs_a_new_file_and_excludes_rows(tmp_path: Path) -> None:
    alone = run_new(tmp_path, "--like", "tickets")
    assert alone.returncode == 2 and "--like needs --new." in alone.stderr
    assert "optimize --new FILE.py --like tickets" in alone.stderr
    both = run_new(tmp_path, "--new", "mine.py", "--like", "tickets", "--from", "rows.csv")
    assert both.returncode == 2 and "--from and --like are two ways to begin." in both.stderr
    unknown = run_new(tmp_path, "--new", "mine.py", "--like", "ticket")
    assert unknown.returncode == 2 and unknown.stderr.startswith(
        "error: No recipe called ticket comes with promptstill."
    )
    for name, path in shipped_recipes().items():
        assert re.search(rf"^  {name} +{re.escape(subject(path))}$", unknown.stderr, re.MULTILINE)
    assert unknown.stderr.endswith("Did you mean tickets?\n") and not list(tmp_path.iterdir())
