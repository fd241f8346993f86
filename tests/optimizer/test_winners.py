"""What a second look at test costs: winners are counted over runs, and a resumed run holds back no stored call."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path

from optimizer.report.report import write_report
from optimizer.run.folder import RunFolder
from promptstill.endpoint.stores import file_url, open_calls
from tests.support.codes import best, command, knows_with_demos, run
from tests.support.fake import FakeEndpoint
from tests.support.finished import copied


def test_winners_are_counted_over_the_runs_beside_this_one_that_have_its_test_rows(
    finished_run: RunFolder, tmp_path: Path
) -> None:
    first = copied(finished_run, tmp_path / "runs")
    (own,) = first.record["measured"]
    assert first.count_winners(own) == 1, "to read it again is no other winner"
    second, elsewhere = (RunFolder(first.path.with_name(name)) for name in ("second", "elsewhere"))
    for other in (second, elsewhere):
        (other.path / "logs").mkdir(parents=True)
    second.note(splits=first.record["splits"])
    elsewhere.note(splits={"sha256": {"test": "other rows"}})
    for name, text in (("torn", "{"), ("list", "[1]"), ("old", '{"splits": {}}')):
        (first.path.with_name(name)).mkdir()
        (first.path.with_name(name) / "run.json").write_text(text)
    assert elsewhere.count_winners("another") == 1
    assert second.count_winners(own) == 1, "the same prompt, found twice"
    assert second.count_winners("another") == 2
    assert first.count_winners("a third") == 3 and second.count_winners("another") == 3


def test_a_second_winner_on_the_same_test_rows_is_told_with_its_p_value_as_the_best_of_two(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        first = run(command(fake, tmp_path), tmp_path)
        (folder,) = (tmp_path / "runs").iterdir()
        path = folder / "run.json"
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"measured": ["the winner of a limit that ended sooner"]}))
        again = run([sys.executable, "-m", "optimizer", "--resume", str(folder), "--base-url", fake.base_url], tmp_path)
    assert "40 rows, read once" in first.stdout and "Bonferroni" not in first.stdout
    assert "40 rows, read for 2 winners so far" in again.stdout
    test = best(tmp_path)["scores"]["test"]
    p = test["gains"]["over_baseline"]["p"]
    told = f"rows so far. As the best of 2, this gain over the baseline prompt has p = {2 * p:.4f} (Bonferroni)."
    assert test["winners"] == 2 and told in again.stdout
    write_report(RunFolder(folder))
    assert told in (folder / "report.html").read_text()


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
    assert limit - 120 < spent <= limit, "were the baseline's and DSPy's 120 held back once more, so many were left"
