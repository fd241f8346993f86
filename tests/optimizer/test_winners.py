"""What a second look at test costs: winners are counted over runs, and a resumed run holds back no stored call."""

from __future__ import annotations

import html
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from optimizer.report.report import write_report
from optimizer.run.folder import RunFolder
from promptstill.endpoint.stores import file_url, open_calls
from promptstill.scoring.rows import read_row_ids
from promptstill.task.examples import Example
from promptstill.text import p_text
from tests.support.codes import RECIPE, best, command, knows_with_demos, run
from tests.support.fake import FakeEndpoint
from tests.support.finished import copied


def rows_of(folder: RunFolder) -> list[Example]:
    """The test rows that a run's test.jsonl names, without their content."""
    return [example(row) for row in read_row_ids(folder.test_path)]


def example(row: str) -> Example:
    return Example(row, row, {}, {}, {}, row)


def beside(folder: RunFolder, name: str) -> RunFolder:
    other = RunFolder(folder.path.with_name(name))
    other.logs_dir.mkdir(parents=True)
    other.note(name=name)
    return other


def test_winners_are_counted_over_the_runs_beside_this_one_that_measured_one_of_its_test_rows(
    finished_run: RunFolder, tmp_path: Path
) -> None:
    first = copied(finished_run, tmp_path / "runs")
    rows = rows_of(first)
    (entry,) = first.record["measured"]
    (own,) = entry["winners"]
    assert len(rows) == 40 and entry["rows"] == sorted(row.id for row in rows)
    assert first.count_winners(rows, own) == 1, "to read it again is no other winner"
    second, elsewhere, third = (beside(first, name) for name in ("second", "elsewhere", "third"))
    for name, text in (("torn", "{"), ("list", "[1]"), ("old", '{"splits": {}}'), ("odd", '{"measured": [1, {}]}')):
        (beside(first, name).path / "run.json").write_text(text)
    assert elsewhere.count_winners([example("of no other run")], "another") == 1
    assert second.count_winners(rows, own) == 1, "the same prompt, found twice"
    assert second.count_winners(rows[::-1], "another") == 2, "in another order they are the same rows"
    assert len(second.record["measured"]) == 1
    assert third.count_winners([rows[0], example("new")], "a third") == 3, "one row in common is enough"
    assert first.count_winners(rows) == 3 and elsewhere.count_winners([example("new")]) == 1


def test_the_winners_of_a_run_that_names_no_rows_are_of_the_rows_of_its_test(
    finished_run: RunFolder, tmp_path: Path
) -> None:
    first = copied(finished_run, tmp_path / "runs")
    rows = rows_of(first)
    first.note(measured=["one", "two"])
    second, torn = beside(first, "second"), beside(first, "torn")
    assert second.count_winners(rows[:1], "another") == 3
    torn.note(measured=["lost"])
    torn.test_path.write_text("{")
    assert second.count_winners(rows[:1], "another") == 3, "a broken file is passed over"
    assert first.count_winners(rows, "three") == 4
    ids = sorted(row.id for row in rows)
    assert first.record["measured"] == [{"winners": ["one", "three", "two"], "rows": ids}]


def test_runs_with_other_seeds_measure_their_winners_on_the_same_rows(tmp_path: Path) -> None:
    """The winners differ: each run's signature has an instruction of its own."""
    told, few = [], ("--trials", "4", "--proposals", "0", "--no-dspy")
    with FakeEndpoint(knows_with_demos) as fake:
        for seed in ("0", "1", "2"):
            argv = command(fake, tmp_path, *few, "--seed", seed)
            (tmp_path / "codes.py").write_text(RECIPE.replace("Say the code", f"For {seed}, say the code"))
            done = run(argv, tmp_path)
            assert done.returncode == 0, done.stderr
            told.append(done.stdout)
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/run.json")]
    assert {record["settings"]["seed"] for record in records} == {0, 1, 2}
    assert len({record["splits"]["sha256"]["test"] for record in records}) == 1
    assert len({winner for record in records for entry in record["measured"] for winner in entry["winners"]}) == 3
    assert "40 rows, read once" in told[0] and "40 rows, read for 2 winners so far" in told[1]
    assert "40 rows, read for 3 winners so far" in told[2]
    assert "3 winners were evaluated on these test rows so far. As the best of 3, this gain" in told[2]
    assert best(tmp_path)["scores"]["test"]["winners"] == 3 and best(tmp_path)["splits"]["seed"] == 0


def sooner(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Another winner on the run's test rows: that of a limit which ended it sooner."""
    return [{"winners": ["another"], "rows": record["measured"][0]["rows"]}]


def test_a_second_winner_on_the_same_test_rows_is_told_with_its_p_value_as_the_best_of_two(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        first = run(command(fake, tmp_path), tmp_path)
        (folder,) = (tmp_path / "runs").iterdir()
        path = folder / "run.json"
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"measured": sooner(record)}))
        again = run([sys.executable, "-m", "optimizer", "--resume", str(folder), "--base-url", fake.base_url], tmp_path)
    assert "40 rows, read once" in first.stdout and "Bonferroni" not in first.stdout
    assert "40 rows, read for 2 winners so far" in again.stdout
    test = best(tmp_path)["scores"]["test"]
    p = test["gains"]["over_baseline"]["p"]
    told = f"rows so far. As the best of 2, this gain over the baseline prompt has {p_text(2 * p)} (Bonferroni)."
    assert test["winners"] == 2 and told in again.stdout
    write_report(RunFolder(folder))
    assert html.escape(told) in (folder / "report.html").read_text()


def test_after_a_resume_only_calls_of_test_that_are_not_stored_are_held_back(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        run(command(fake, tmp_path, "--max-calls", "330", "--trials", "40"), tmp_path)
        (folder,) = (tmp_path / "runs").iterdir()
        with closing(open_calls(file_url(folder / "calls.db"))) as store:
            limit = sum(role.calls for role in store.totals().values()) + 440
        on = [sys.executable, "-m", "optimizer", "--resume", str(folder), "--base-url", fake.base_url]
        done = run([*on, "--max-calls", str(limit)], tmp_path)
    spent = best(tmp_path)["search"]["spent"]["total"]["calls"]
    assert done.returncode == 0, done.stderr
    assert f"stopped early, by --max-calls {limit}" in done.stdout
    assert limit - 160 < spent <= limit, "were the baseline's and DSPy's 120 held back once more, so many were left"
