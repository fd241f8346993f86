"""`distill` on the real engine with the embedded model: killed while it teaches and while it trains, then a result."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptstill import Prompt
from promptstill.engine.models import EMBEDDED, find_model
from tests.support import ROOT, server
from tests.support.fake import Body
from tests.support.feel import write_best_json
from tests.support.providers.hosted import NewerClaude


def kill_when(argv: list[str], folder: Path, ready: Callable[[], bool]) -> None:
    """Start the command and `kill -9` it as soon as `ready`."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(argv, cwd=folder, env=env, stderr=log, stdout=log)
    deadline = time.monotonic() + 400
    while not ready():
        assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()


def teacher_calls(folder: Path) -> dict[str, str]:
    """When each teacher call was paid, by key."""
    path = folder / "distilled" / "work" / "calls.db"
    if not path.is_file():
        return {}
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            return dict(db.execute("SELECT key, paid_at FROM calls WHERE role = 'teacher'").fetchall())
    except sqlite3.OperationalError:  # the table is not there yet
        return {}


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_distill_on_the_real_engine_through_two_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_best_json(tmp_path, find_model(EMBEDDED, print))
    distill = [sys.executable, "-m", "distill"]
    start = [*distill, "--from-prompt", "best.json", "-k", "1", "--epochs", "2", "--merge"]
    resume = [*distill, "--resume", "distilled"]
    kill_when(start, tmp_path, lambda: len(teacher_calls(tmp_path)) > 30)
    before = teacher_calls(tmp_path)
    student = tmp_path / "distilled" / "work" / "student"
    kill_when(resume, tmp_path, (student / "metrics.jsonl").is_file)
    answered = teacher_calls(tmp_path)
    assert before.items() <= answered.items(), "what was stored before the kill is not asked again"
    assert not (tmp_path / "distilled" / "prompt.json").exists(), "nothing half-made is taken for a result"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(resume, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert teacher_calls(tmp_path) == answered and len(answered) == 120
    check_result(tmp_path / "distilled", done.stdout)
    assert "serve distilled/merged" in done.stdout
    check_merged(tmp_path)


HOT = ("fire", "lava", "sun", "oven", "stove", "kettle", "torch", "ember", "furnace", "steam", "magma", "bonfire")


def feel(body: Body) -> str:
    """The right answer to the last message."""
    question = str(body["messages"][-1]["content"])
    return "hot" if any(word in question for word in HOT) else "cold"


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_distill_with_a_teacher_at_a_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_best_json(tmp_path, find_model(EMBEDDED, print))
    with NewerClaude(feel) as provider:
        env = {**os.environ, "PYTHONPATH": str(ROOT), **provider.environment}
        words = ["--teacher", provider.name, "-k", "0", "--epochs", "2", "--no-gold-arm", "--max-usd", "1"]
        command = [sys.executable, "-m", "distill", "--from-prompt", "best.json", *words]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    verdict = json.loads((tmp_path / "distilled" / "verdict.json").read_text())
    assert verdict["arms"]["student + bare prompt"]["score"]["mean"] > 0.8
    assert 60 <= provider.requests < 80, "each row once, and what finds out how it is asked"
    assert all("temperature" not in body for body in provider.bodies)
    assert re.search(r"USD in all \(.*teacher 0\.0[1-9]\)", done.stderr + done.stdout)
    assert provider.name in (tmp_path / "distilled" / "README.md").read_text()


def check_result(folder: Path, printed: str) -> None:
    """The folder describes itself, and its figures are those on the screen."""
    verdict: dict[str, Any] = json.loads((folder / "verdict.json").read_text())
    record = json.loads((folder / "train.json").read_text())
    assert set(verdict["arms"]) == {
        "base + bare prompt",
        "base + best prompt",
        "student + bare prompt",
        "gold-label student",
    }
    assert verdict["arms"]["student + bare prompt"]["score"]["mean"] > 0.8
    assert verdict["sentence"] in (folder / "README.md").read_text() and verdict["sentence"] in printed.replace(
        "\n", " "
    )
    assert record["adapter_check"]["state"] == "live" and record["merged_difference"] < 0.01
    lines = (folder / "dataset.jsonl").read_text().splitlines()
    assert len(lines) == record["dataset"]["training_rows"] >= 20
    prompt = Prompt.load(folder / "prompt.json")
    assert prompt.request({"thing": "the fire"})["messages"] == [{"role": "user", "content": "Thing: the fire\nFeel:"}]
    page = (folder / "report.html").read_text()
    rows = verdict["arms"]["base + bare prompt"]["score"]["n"]
    assert page.count("<svg") == 3 and page.count("<details class=") == rows
    assert (folder / "merged" / "model.safetensors").is_file() and (folder / "adapter_model.safetensors").is_file()


def check_merged(folder: Path) -> None:
    """The merged weights answer under the student's name, as the adapter did on test; no other base is there."""
    answered = [json.loads(line) for line in (folder / "distilled" / "test.jsonl").read_text().splitlines()][:8]
    served = server.start(folder, "distilled/merged")
    try:
        listed = {model["id"]: model.get("promptstill") for model in served.get("/v1/models").json()["data"]}
        said = [served.ask("feel-distilled", row["inputs"], raw=True).json() for row in answered]
    finally:
        server.finish(served)
    assert set(listed) == {"feel-distilled", "feel-merged"} and listed["feel-distilled"]["score"]["mean"] > 0.8
    replies = [one["choices"][0]["message"]["content"] for one in said]
    wanted = [row["answers"]["student + bare prompt"]["reply"] for row in answered]
    agreeing = sum(one.strip() == other.strip() for one, other in zip(replies, wanted, strict=True))
    assert agreeing >= 7, "rounding may tip one"
