"""What needs no language model beside the winner: in the terminal, in best.json, in test.jsonl and in the page."""

from __future__ import annotations

import json
from pathlib import Path

from optimizer.report.report import write_report
from promptstill.scoring.rows import read_test_rows
from tests.promptstill.scoring.rivals.embeddings_server import FakeEmbeddings
from tests.support.codes import best, command, knows_with_demos, run
from tests.support.fake import FakeEndpoint
from tests.support.finished import FinishedRun, copied

NAMES = ["majority", "nearest", "bag_of_words"]
NOTE = "The answer of the nearest train rows does as well here (100.0 against 100.0): you may need no model for this."


def test_a_run_says_first_that_the_nearest_rows_do_as_well(finished: FinishedRun) -> None:
    test = best(finished.work)["scores"]["test"]
    assert list(test["rivals"]) == NAMES and test["rivals"]["bag_of_words"]["score"]["mean"] == 1.0
    for rival in test["rivals"].values():
        assert rival["score"]["n"] == rival["gain"]["n"] == 40 and {"low", "high", "p"} <= set(rival["gain"])
        gained = test["winner"]["score"]["mean"] - rival["score"]["mean"]
        assert abs(rival["gain"]["mean"] - gained) < 1e-9
    assert set(test["rivals"]["nearest"]["settings"]) == {"k"} and test["rivals"]["majority"]["settings"] == {}
    out = finished.done.stdout
    assert out.index("\n bag of words ") < out.index(NOTE) < out.index("winner over baseline:")
    assert "winner over bag of words: +0.0 points" in out and "winner over majority:     +50.0 points" in out
    assert best(finished.work)["shipped"] == "winner", "rivals choose nothing"
    assert all(len(line) <= 80 for line in out[: out.index(NOTE)].splitlines())


def test_the_page_says_so_first_and_shows_their_answers(finished: FinishedRun) -> None:
    page = finished.run.report_path.read_text(encoding="utf-8")
    assert page.index(NOTE) < page.index("The winner beats the baseline prompt")
    assert "<td>bag of words, C = " in page and "over nearest rows" in page
    rows = read_test_rows(finished.run.test_path)
    assert [*rows[0].answers] == ["baseline", "dspy", "winner", *NAMES]
    assert all(row.answers["bag_of_words"].reply == row.gold["code"] for row in rows)


def test_no_rivals_leaves_them_out_of_all_that_is_said(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        done = run(command(fake, tmp_path, "--no-rivals", "--trials", "2", "--proposals", "0"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert best(tmp_path)["scores"]["test"]["rivals"] == {}
    (folder,) = (tmp_path / "runs").iterdir()
    said = done.stdout + done.stderr + (folder / "report.html").read_text(encoding="utf-8")
    assert "bag of words" not in said and "rivals without" not in said and "need no model" not in said


def test_embeddings_are_one_rival_more_and_cost_no_call(tmp_path: Path) -> None:
    options = ("--trials", "2", "--proposals", "0", "--no-dspy")
    with FakeEndpoint(knows_with_demos) as fake, FakeEmbeddings() as letters:
        done = run(command(fake, tmp_path, *options, "--embeddings", letters.option), tmp_path)
    assert done.returncode == 0, done.stderr
    made = best(tmp_path)
    assert list(made["scores"]["test"]["rivals"]) == [*NAMES, "embeddings"]
    assert sum(map(len, letters.batches)) == 1 + 120, "once to see that it answers, then each row"
    assert made["search"]["spent"]["total"]["calls"] == fake.requests


def test_embeddings_that_cannot_be_had_end_the_command_before_a_call(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake, FakeEmbeddings(key="sesame-open") as letters:
        refused = run(command(fake, tmp_path, "--embeddings", letters.option), tmp_path, OPENAI_API_KEY="")
        nowhere = run(command(fake, tmp_path, "--embeddings", "letters"), tmp_path)
    assert refused.returncode == nowhere.returncode == 2 and fake.requests == 0
    assert "refused the API key" in refused.stderr and "--embeddings letters names no endpoint" in nowhere.stderr
    assert not (tmp_path / "runs").exists()


def test_a_run_from_before_there_were_rivals_is_shown(finished: FinishedRun, tmp_path: Path) -> None:
    mine = copied(finished.run, tmp_path)
    stored = json.loads(mine.best_path.read_text())
    del stored["scores"]["test"]["rivals"]
    mine.best_path.write_text(json.dumps(stored))
    write_report(mine)
    assert NOTE not in mine.report_path.read_text(encoding="utf-8")
