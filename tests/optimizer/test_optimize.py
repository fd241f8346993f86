"""The command itself, against a fake endpoint: the whole run, kills and resumes, limits and failures."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from optimizer.report.report import write_report
from optimizer.run.folder import RunFolder
from promptstill import Prompt
from promptstill.endpoint.stores import file_url, open_calls
from tests.support import ROOT
from tests.support.codes import RECIPE, best, command, knows_with_demos, run
from tests.support.fake import FakeEndpoint
from tests.support.finished import FinishedRun


def test_a_run_finds_measures_and_ships(finished: FinishedRun) -> None:
    done, fake = finished.done, finished.fake
    made = best(finished.work)
    test = made["scores"]["test"]
    assert made["shipped"] == "winner" and test["gains"]["over_baseline"]["low"] > 0
    assert test["winner"]["score"]["n"] == test["baseline"]["score"]["n"] == test["dspy"]["score"]["n"] == 40
    assert set(fake.calls.values()) == {1}
    assert made["search"]["rows_evaluated"] < made["search"]["rows_of_full_evaluation"]
    assert "DSPy default" in done.stdout and "it is shipped" in done.stdout
    names = {path.name for path in finished.run.path.iterdir()}
    assert {"run.json", "recipe.py", "pools.json", "study.log", "calls.db", "trials.jsonl", "best.json"} <= names
    sent = {json.dumps(body, sort_keys=True) for body in fake.bodies}
    row = {"word": "w1 odd 1"}
    prompt = Prompt.load(finished.work / "best.json")
    rows = [{"word": f"w{i} {'even' if i % 2 == 0 else 'odd'} {i % 7}"} for i in range(120)]
    rendered = {json.dumps(prompt.request(one), sort_keys=True) for one in rows}
    assert len(rendered & sent) >= 80, "dev and test must have been sent byte for byte as best.json renders them"
    assert prompt.messages(row)


def test_no_dspy_leaves_its_default_out_of_test_and_of_all_that_is_said(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        done = run(command(fake, tmp_path, "--no-dspy", "--max-calls", "200", "--trials", "4"), tmp_path)
    assert done.returncode == 0, done.stderr
    test = best(tmp_path)["scores"]["test"]
    assert "dspy" not in test and set(test["gains"]) == {"over_baseline"}
    assert "DSPy" not in done.stdout + done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    page = (folder / "report.html").read_text()
    assert "DSPy default" not in page and page.count("<svg") >= 2


def test_no_gain_ships_the_baseline_with_its_dev_scores_even_if_it_lost_its_race(tmp_path: Path) -> None:
    with FakeEndpoint(lambda body: "c0") as fake:
        done = run(command(fake, tmp_path), tmp_path)
    assert done.returncode == 0, done.stderr
    made = best(tmp_path)
    assert made["shipped"] == "baseline" and "does not beat the baseline prompt" in done.stdout
    assert len(made["scores"]["dev"]["shipped_rows"]) == 40, "optimize --gate compares with them"


def test_cut_replies_are_told_at_the_end_and_in_the_page(tmp_path: Path) -> None:
    options = ("--trials", "2", "--proposals", "0", "--layout", "chat")
    with FakeEndpoint(
        knows_with_demos, finish=lambda body: "length" if "[[ ##" in json.dumps(body) else "stop"
    ) as fake:
        done = run(command(fake, tmp_path, *options), tmp_path)
    assert done.returncode == 0, done.stderr
    note = "Replies cut at max_tokens, which may lack their end: DSPy default 40 of 40. Raise it in the recipe: "
    assert f"\n{note}Recipe(max_tokens=…).\n" in done.stdout
    test = best(tmp_path)["scores"]["test"]
    assert [test[arm]["cut"] for arm in ("baseline", "dspy", "winner")] == [0.0, 1.0, 0.0]
    folder = RunFolder(next((tmp_path / "runs").iterdir()))
    assert note in folder.report_path.read_text()
    for arm in ("baseline", "dspy", "winner"):
        del test[arm]["cut"]
    folder.best_path.write_text(json.dumps({**best(tmp_path), "scores": {**best(tmp_path)["scores"], "test": test}}))
    write_report(folder)
    assert note not in folder.report_path.read_text(), "a run from before cuts were recorded is shown as it was"


@pytest.mark.slow
def test_five_kills_repeat_no_stored_call_and_change_nothing(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    with FakeEndpoint(knows_with_demos) as fake:
        assert run(command(fake, whole), whole).returncode == 0
        alone = dict(fake.calls)
    with FakeEndpoint(knows_with_demos) as fake:
        fake.delay_s = 0.05
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        argv = command(fake, killed, "--window", "16")
        for kill in range(5):
            seen = sum(fake.calls.values())
            process = subprocess.Popen(argv, cwd=killed, env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            deadline = time.monotonic() + 240
            while sum(fake.calls.values()) < seen + 40 + 13 * kill and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
            run_folder = next((killed / "runs").iterdir())
            argv = [sys.executable, "-m", "optimizer", "--resume", str(run_folder), "--base-url", fake.base_url]
        stored_before = dict(fake.calls)
        done = run(argv, killed)
    assert done.returncode == 0, done.stderr
    assert best(killed)["id"] == best(whole)["id"]
    repeated = sum(count - 1 for count in fake.calls.values())
    assert repeated <= 5 * 16, "only what was in flight at a kill may be asked again"
    assert set(fake.calls) == set(alone)
    assert sum(fake.calls.values()) >= sum(stored_before.values())


def test_a_study_whose_last_line_was_cut_goes_on(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        assert run(command(fake, tmp_path), tmp_path).returncode == 0
        made, folder = best(tmp_path), next((tmp_path / "runs").iterdir())
        lines = (folder / "study.log").read_bytes().splitlines(keepends=True)
        (folder / "study.log").write_bytes(b"".join(lines[:-4]) + lines[-4][: len(lines[-4]) // 2])
        done = run([sys.executable, "-m", "optimizer", "--resume", str(folder)], tmp_path)
    assert done.returncode == 0, done.stderr
    assert best(tmp_path)["id"] == made["id"] and set(fake.calls.values()) == {1}


@pytest.mark.parametrize("limit", [["--max-calls", "400"], ["--max-tokens", "30000"], ["--max-minutes", "0.05"]])
def test_a_limit_ends_the_run_cleanly(limit: list[str], tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        fake.delay_s = 0.05
        done = run(command(fake, tmp_path, *limit, "--window", "8"), tmp_path)
    assert done.returncode == 0, done.stderr
    if limit[0] == "--max-calls":
        assert sum(fake.calls.values()) <= 400
        assert "stopped early, by --max-calls 400" in done.stdout and (tmp_path / "best.json").exists()


def test_a_small_limit_is_spent_on_scores_before_proposals_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        done = run(command(fake, tmp_path, "--max-calls", "330"), tmp_path)
        small = best(tmp_path)
        folder = next((tmp_path / "runs").iterdir())
        sets = json.loads((folder / "pools.json").read_text())["demo_sets"]
        told = (folder / "report.html").read_text()
        on = [sys.executable, "-m", "optimizer", "--resume", str(folder), "--max-calls", "900"]
        more = run([*on, "--base-url", fake.base_url], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "racing the first 8 candidates over the dev rows that 163 calls pay for" in done.stderr
    assert "over all of dev they may take 224" in done.stderr
    assert "proposes and bootstraps others after that" in more.stderr and "calls pay for" not in more.stderr
    assert set(small["search"]["spent"]["roles"]) == {"probe", "task"}
    assert small["search"]["winner"]["demos"] in sets and not any(name.startswith("boot") for name in sets)
    assert "labeled-0" in told, "the report shows how each choice did"
    assert small["search"]["trials"] == 8 and "8 trials evaluated" in done.stdout
    assert re.search(r"p (= 0\.\d{4}|< 0\.0001)$", done.stdout, re.MULTILINE) and "replies reused" in done.stdout, (
        "no line is cut"
    )
    assert small["shipped"] == "winner", "the demos of the first candidates suffice here"
    assert more.returncode == 0, more.stderr
    spent = best(tmp_path)["search"]["spent"]["roles"]
    assert set(spent) == {"probe", "proposer", "task"} and best(tmp_path)["search"]["trials"] == 12
    filled = json.loads((folder / "pools.json").read_text())["demo_sets"]
    assert filled.keys() > sets.keys()
    assert set(fake.calls.values()) == {1}, "what the small limit paid for is not asked again"


def test_a_limit_that_ends_while_pools_are_filled_keeps_the_proposals_that_were_paid_for(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        fake.delay_s = lambda body: body.get("temperature", 0.0)  # proposals are sampled, and come later than the rest
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command(fake, tmp_path), cwd=tmp_path, env=env, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 240
            while not any("generation 0-8" in log.read_text() for log in tmp_path.glob("runs/*/study.log")):
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.01)
            process.kill()
        folders = list(tmp_path.glob("runs/*"))
        with closing(open_calls(file_url(folders[0] / "calls.db"))) as store:
            stored = sum(role.calls for role in store.totals().values())
        fake.requests = 0
        limit = ["--max-calls", str(stored + 160 + 56)]
        done = run([sys.executable, "-m", "optimizer", "--resume", str(folders[0]), *limit], tmp_path)
    assert done.returncode == 0, done.stderr
    roles = best(tmp_path)["search"]["spent"]["roles"]
    assert "proposer" in roles, "a generation that was begun goes on: the limit falls into the builder"
    assert sum(role["calls"] for role in roles.values()) == stored + fake.requests


def test_finalists_that_the_limit_kept_from_meeting_are_told_of_and_can_meet_later(tmp_path: Path) -> None:
    with FakeEndpoint(lambda body: "c1") as fake:
        done = run(command(fake, tmp_path, "--max-calls", "300"), tmp_path)
        (page,) = tmp_path.glob("runs/*/report.html")
        told = page.read_text(encoding="utf-8")
        (words,) = (line.split()[3:] for line in done.stdout.splitlines() if line.startswith("play off "))
        later = run([sys.executable, "-m", "optimizer", *words, "--base-url", fake.base_url], tmp_path)
    assert "train rows new to them, as far as --max-calls 300 allows" in done.stderr
    assert "play-off: 2 that dev cannot tell apart were not compared, for no call was left" in done.stdout
    assert "The limit ended the run before they were compared: dev alone chose." in told
    assert "8 trials evaluated" in later.stdout and "were compared on 20 train rows" in later.stdout, later.stdout


def test_a_limit_too_small_to_score_a_prompt_is_refused(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        for limit, spent in ((10, 0), (160, 0), (175, 0), (180, 7)):
            done = run(command(fake, tmp_path, "--max-calls", str(limit)), tmp_path)
            left = f"--max-calls {limit} leaves {max(limit - 160 - spent, 0)} calls for the search"
            assert done.returncode == 2 and left in done.stderr
            assert (tmp_path / "runs").exists() == bool(spent), "it is known before a run folder or an engine is needed"
            assert sum(fake.calls.values()) == spent, "the layouts are probed first, where there is room for more"
            assert "(--no-dspy)" in done.stderr
        done = run(command(fake, tmp_path, "--max-calls", "10", "--no-dspy"), tmp_path)
    assert done.returncode == 2 and "--no-dspy" not in done.stderr, "what was done is no advice"


def test_a_wrong_key_ends_with_two_and_a_dead_endpoint_with_one(tmp_path: Path) -> None:
    with FakeEndpoint(key="right") as fake:
        argv = command(fake, tmp_path)
        wrong = run(argv, tmp_path, OPENAI_API_KEY="wrong")
    assert wrong.returncode == 2 and "refused the API key" in wrong.stderr and "Traceback" not in wrong.stderr
    dead = run(argv, tmp_path)
    assert dead.returncode == 1 and "does not answer" in dead.stderr and "--resume" in dead.stderr


@pytest.mark.slow
def test_an_endpoint_that_fails_half_the_time_gives_the_same_result(tmp_path: Path) -> None:
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    calm.mkdir()
    rough.mkdir()
    with FakeEndpoint(knows_with_demos) as fake:
        assert run(command(fake, calm, "--trials", "4"), calm).returncode == 0
    with FakeEndpoint(knows_with_demos) as fake:
        fake.misbehave = lambda number: 500 if number % 2 else None
        done = run(command(fake, rough, "--trials", "4"), rough)
    assert done.returncode == 0, done.stderr
    assert best(rough)["id"] == best(calm)["id"]


def test_a_changed_recipe_is_not_resumed(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        assert run(command(fake, tmp_path, "--trials", "4"), tmp_path).returncode == 0
        folder = next((tmp_path / "runs").iterdir())
        (tmp_path / "codes.py").write_text(RECIPE + "\n# changed\n")
        done = run([sys.executable, "-m", "optimizer", "--resume", str(folder)], tmp_path)
    assert done.returncode == 2 and "has changed since" in done.stderr


def test_check_asks_no_model(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        done = run([*command(fake, tmp_path), "--check"], tmp_path)
    assert done.returncode == 0 and "the recipe codes is in order" in done.stdout and not fake.calls
    assert re.search(r"^with \d+ dev rows, gains under \d+ points are noise to the search$", done.stdout, re.MULTILINE)
    assert re.search(
        r"^with \d+ test rows a true gain of 20 points is found \d+ times of 100, ", done.stdout, re.MULTILINE
    )


def test_runs_that_share_a_study_add_to_each_other(tmp_path: Path) -> None:
    shared = ["--storage", f"sqlite:///{tmp_path / 'study.db'}"]
    with FakeEndpoint(knows_with_demos) as fake:
        first = run(command(fake, tmp_path, *shared, "--trials", "4"), tmp_path)
        assert first.returncode == 0 and "proposer" not in best(tmp_path)["search"]["spent"]["roles"], "none needed it"
        second = run(command(fake, tmp_path, *shared, "--trials", "12"), tmp_path)
        assert second.returncode == 0 and "proposer" in best(tmp_path)["search"]["spent"]["roles"], second.stderr
        texts = [path.read_text() for path in (tmp_path / "runs").glob("*/trials.jsonl")]
        trials = [json.loads(line) for text in texts for line in text.splitlines()]
        assert len({trial["worker"] for trial in trials}) == 2 and len({trial["prompt_id"] for trial in trials}) == 12
        third = run(command(fake, tmp_path, *shared, "--seed", "7"), tmp_path)
    assert third.returncode == 2 and "is of another recipe, other rows or another model" in third.stderr
