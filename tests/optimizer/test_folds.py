"""Few rows: a cross-validated run against a fake endpoint, what it writes, and how it goes on after a kill."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.folds import WHOLE, Together
from promptstill.endpoint.allowance import Allowance
from promptstill.events import GenerationEnded, Message
from promptstill.prompt.prompt import Prompt
from tests.support import ROOT
from tests.support.codes import RECIPE, best, command, knows_with_demos, run
from tests.support.fake import FakeEndpoint

FEW = RECIPE.replace("range(120)", "range(40)").replace(", split=(40, 40, 40)", "")
WORD = re.compile(r"w\d+ (?:even|odd) \d")


def few_rows(fake: FakeEndpoint, folder: Path, *extra: str) -> list[str]:
    argv = command(fake, folder, "--proposals", "0", *extra)
    (folder / "codes.py").write_text(FEW)
    return argv


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FakeEndpoint, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("folds")
    with FakeEndpoint(knows_with_demos) as fake:
        done = run(few_rows(fake, folder), folder)
    assert done.returncode == 0, done.stderr
    return folder, fake, done


def test_each_row_is_test_once_and_a_gain_ships(folded: Any) -> None:
    folder, _, done = folded
    made = best(folder)
    test = made["scores"]["test"]
    assert "40 labelled rows in 5 folds of 8" in done.stderr and "6 searches side by side" in done.stderr
    assert made["splits"]["folds"] == 5 and [fold["rows"] for fold in test["folds"]] == [8] * 5
    assert test["winner"]["score"]["n"] == 40 and made["shipped"] == "winner"
    mean = sum(fold["winner"] for fold in test["folds"]) / 5
    assert mean == pytest.approx(test["winner"]["score"]["mean"])
    assert "Cross-validated in 5 folds" in done.stdout
    (run_dir,) = (folder / "runs").iterdir()
    rows = [json.loads(line) for line in (run_dir / "test.jsonl").read_text().splitlines()]
    assert len({row["id"] for row in rows}) == len(rows) == 40


def test_no_request_shows_a_row_its_own_answer(folded: Any) -> None:
    _, fake, _ = folded
    with_demos = 0
    for body in fake.bodies:
        words = WORD.findall("\n".join(str(message["content"]) for message in body["messages"]))
        if words:
            assert words.count(words[-1]) == 1, "the last word is the question; it must be no demo"
            with_demos += len(words) > 1
    assert with_demos > 100


def test_the_prompt_of_the_first_fold_is_kept_for_distill(folded: Any) -> None:
    made = best(folded[0])
    fold = made["first_fold"]
    assert Prompt.model_validate(fold["prompt"]).id == fold["id"] == made["scores"]["test"]["folds"][0]["prompt"]


def test_the_gate_asks_the_rows_that_the_prompt_does_not_show(folded: Any) -> None:
    folder, fake, _ = folded
    made = best(folder)
    before = len(fake.bodies)
    with FakeEndpoint(knows_with_demos) as again:
        argv = [sys.executable, "-m", "optimizer", "--gate", "best.json", "--base-url", again.base_url]
        done = run(argv, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(fake.bodies) == before
    words = [WORD.findall("\n".join(str(one["content"]) for one in body["messages"])) for body in again.bodies]
    asked = [one for one in words if one]
    assert asked and all(one.count(one[-1]) == 1 for one in asked)
    assert len(asked) == len(made["scores"]["dev"]["shipped_rows"]) <= 40


def test_a_killed_run_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        fake.delay_s = 0.02
        argv = few_rows(fake, tmp_path)
        process = subprocess.Popen(argv, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 120
        while len(fake.bodies) < 150 and time.monotonic() < end and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        (run_dir,) = (tmp_path / "runs").iterdir()
        before = len(fake.calls)
        done = run([*argv[:3], "--resume", str(run_dir)], tmp_path)
    assert done.returncode == 0, done.stderr
    assert 0 < before < len(fake.calls)
    repeated = sum(count > 1 for count in fake.calls.values())
    assert repeated <= 64, "only what was in flight at the kill is asked again"
    assert len(best(tmp_path)["scores"]["test"]["folds"]) == 5


def test_one_budget_holds_for_all_searches(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        done = run(few_rows(fake, tmp_path, "--max-calls", "1000"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert sum(fake.calls.values()) <= 1000
    assert "The search stopped early, by --max-calls 1000." in done.stdout
    assert best(tmp_path)["scores"]["test"]["winner"]["score"]["n"] == 40


def test_a_limit_that_does_not_pay_for_folds_deals_the_rows_once_and_the_run_goes_on_so(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        done = run(few_rows(fake, tmp_path, "--max-calls", "150"), tmp_path)
        (run_dir,) = (tmp_path / "runs").iterdir()
        argv = [sys.executable, "-m", "optimizer", "--resume", str(run_dir), "--max-calls", "3000"]
        again = run([*argv, "--base-url", fake.base_url], tmp_path)
    assert done.returncode == 0 and again.returncode == 0, done.stderr + again.stderr
    assert "--max-calls 150 does not pay for 5 folds" in done.stderr and "train 20, dev 8, test 12 rows" in done.stderr
    assert "train 20, dev 8, test 12 rows" in again.stderr and best(tmp_path)["splits"]["folds"] == 0


def test_the_time_left_is_told_once_all_searches_have_told_theirs() -> None:
    heard: list[Any] = []
    together = Together(heard.append, Allowance(), 2)
    done = GenerationEnded(8, 8, 0.5, {"layout": "chat"}, 100, 160, 1, 1, seconds_left=0.0)
    together.of(0)(done)
    together.of(WHOLE)(replace(done, done=4, best=0.3, seconds_left=30.0))
    first, both = heard
    assert (first.done, first.trials, first.best, first.seconds_left) == (8, 16, None, None)
    assert (both.done, both.trials, both.best, both.seconds_left) == (12, 16, 0.3, 30.0)
    together.of(0)(Message("of a fold"))
    together.of(WHOLE)(Message("of all rows"))
    assert heard[2:] == [Message("of all rows")]


def test_no_folds_by_wish_and_where_the_rows_are_dealt_by_hand(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        done = run(few_rows(fake, tmp_path, "--folds", "0", "--check"), tmp_path)
        assert "train 20, dev 8, test 12 rows" in done.stdout
        argv = command(fake, tmp_path, "--check")
        assert "train 40, dev 40, test 40 rows" in run(argv, tmp_path).stdout
        refused = run([*argv, "--folds", "1"], tmp_path)
    assert refused.returncode == 2 and "neither auto, nor 0" in refused.stderr
