"""The judge: how its reply is read, that it is asked once, and what its failures come to; and `optimize --new`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from optimizer import Judge, UserError
from optimizer.budget import Budget, Meter
from optimizer.calls import SqliteCalls
from optimizer.client import Client, Endpoint
from optimizer.errors import InfrastructureError, ReplyError
from optimizer.evaluate import Scored, score_rows
from optimizer.judge import read_mark
from optimizer.layouts import build
from optimizer.metrics import Metric
from optimizer.prepare import prepare
from optimizer.settings import Settings
from optimizer.starter import write_starter
from tests.fake import Body, FakeEndpoint

ROOT = Path(__file__).parents[1]
READ = [
    ("Right in substance.\nScore: 7", 0.7),
    ("**Score:** 7.5", 0.75),
    ("Score (0-10): 8", 0.8),
    ("score: 8/10", 0.8),
    ("Score: 4/5", 0.8),
    ('{"reason": "one error", "score": 3}', 0.3),
    ('```json\n{"rating": 10.0}\n```', 1.0),
    ("A score of 10 would need the year. Score: 6", 0.6),
    ("<think>Score: 1? Or 9.</think>\nI give it 5/10.", 0.5),
    ("Six facts, 2 of them wrong: 4 out of 10", 0.4),
    ("9", 0.9),
    ("**0**", 0.0),
]
UNREAD = ["", "It is fine.", "Score: 85", "Score: -3", "3 facts, 2 wrong", "<think>Score: 5", "11/10", "Score: 7/0"]


@pytest.mark.parametrize(("text", "mark"), READ)
def test_a_mark_is_read(text: str, mark: float) -> None:
    assert read_mark(text) == pytest.approx(mark)


@pytest.mark.parametrize("text", UNREAD)
def test_no_mark_is_guessed(text: str) -> None:
    with pytest.raises(ReplyError):
        read_mark(text)


@pytest.fixture
def judging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[FakeEndpoint], Judge]]:
    """Judges with a cache of the test's own, closed behind it."""
    monkeypatch.setenv("PROMPTSTILL_CACHE", str(tmp_path / "cache"))
    made: list[Judge] = []

    def make(fake: FakeEndpoint) -> Judge:
        made.append(Judge(fake.base_url, fake.model))
        return made[-1]

    yield make
    for judge in made:
        judge.close()


def test_a_question_is_asked_once(judging: Callable[[FakeEndpoint], Judge]) -> None:
    with FakeEndpoint(lambda body: "Score: 7") as fake, ThreadPoolExecutor(8) as pool:
        fake.delay_s = 0.05
        judge = judging(fake)
        assert set(pool.map(judge.mark, ["same"] * 16)) == {0.7}
        assert judging(fake).mark("same") == 0.7
        assert list(fake.calls.values()) == [1]
        assert judge.mark("other") == 0.7 and len(fake.calls) == 2


def test_an_unreadable_reply_is_drawn_again(judging: Callable[[FakeEndpoint], Judge]) -> None:
    with FakeEndpoint(lambda body: "Score: 2" if body["temperature"] else "Well.") as fake:
        assert judging(fake).mark("q") == 0.2
        assert [body["temperature"] for body in fake.bodies] == [0.0, 0.7]
    with FakeEndpoint(lambda body: "Well.") as mute, pytest.raises(ReplyError, match="holds no mark"):
        judging(mute).mark("q")
    assert sum(mute.calls.values()) == 3


def test_a_refused_key_is_said(judging: Callable[[FakeEndpoint], Judge]) -> None:
    with FakeEndpoint(key="other") as fake, pytest.raises(UserError, match="refused the API key"):
        judging(fake).mark("q")


def test_nothing_is_opened_before_a_question() -> None:
    before = threading.active_count()
    Judge("http://127.0.0.1:1/v1", "m").close()
    assert threading.active_count() == before


def scored(metric: Metric, folder: Path) -> list[Scored]:
    """Four rows of a fresh recipe, scored by a judge."""
    metric.judge = True  # type: ignore[attr-defined]  # a function takes any, its type none
    write_starter(folder / "fresh.py")
    ready = prepare(Settings(recipe=str(folder / "fresh.py")))
    prompt = build(ready.task, "chat", "Tell.")

    async def work(fake: FakeEndpoint) -> list[Scored]:
        with closing(SqliteCalls(folder / "calls.db")) as store:
            async with Client(Endpoint(fake.base_url, "w"), store, Meter(Budget(), {})) as client:
                return await score_rows(prompt, ready.splits.train[:4], metric, client)

    with FakeEndpoint() as fake:
        return asyncio.run(work(fake))


def test_judges_wait_side_by_side(tmp_path: Path) -> None:
    """Four are waited for at once: were they called one by one, none would ever be answered."""
    all_here = threading.Barrier(4)

    def together(example: object, prediction: object) -> float:
        all_here.wait(timeout=10)
        return 1.0

    assert [one.score for one in scored(together, tmp_path)] == [1.0] * 4


def test_a_row_without_a_mark_is_a_zero_with_its_reason(tmp_path: Path) -> None:
    def silent(example: object, prediction: object) -> float:
        raise ReplyError("no mark")

    first = scored(silent, tmp_path)[0]
    assert (first.score, first.reason) == (0.0, "unjudged: no mark") and first.outputs and not first.unparsed


def test_a_dead_judge_stops_the_run(tmp_path: Path) -> None:
    def dead(example: object, prediction: object) -> float:
        raise InfrastructureError("gone")

    with pytest.raises(InfrastructureError, match="gone"):
        scored(dead, tmp_path)


def answer(body: Body) -> str:
    """As the task's model it repeats a word; as the judge it likes one question in two, and says nothing on some."""
    text = str(body["messages"][-1]["content"])
    if "You mark answers" not in text:
        return "odd" if len(text) % 2 else "even"
    number = int(text.split("question ")[1].split("?", maxsplit=1)[0])
    return "Hm." if number == 7 else f"Reasons.\nScore: {10 * (number % 2)}"


def optimize(fake: FakeEndpoint, folder: Path) -> str:
    given = {"data": "rows.jsonl", "judge_url": fake.base_url, "judge_model": "fake"}
    parameters = [part for key, value in given.items() for part in ("-p", f"{key}={value}")]
    argv = [sys.executable, "-m", "optimizer", str(ROOT / "recipes" / "judge.py"), *parameters]
    argv += ["--base-url", fake.base_url, "--model", "fake", "--trials", "2", "--layout", "chat", "--proposals", "0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PROMPTSTILL_CACHE": str(folder / "cache")}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_run_is_judged_once_and_the_next_not_again(tmp_path: Path) -> None:
    rows = [{"context": f"c{i}", "question": f"question {i}?", "answer": f"a{i}"} for i in range(30)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with FakeEndpoint(answer) as fake:
        fake.delay_s = 0.02
        said = optimize(fake, tmp_path)
        asked = [body for body in fake.bodies if "You mark answers" in json.dumps(body)]
        assert len(asked) >= 15 and "Unclosed" not in said
        assert f"besides, {len(asked)} calls of the judge, " in said and "which no limit counts" in said
        greedy = [json.dumps(body) for body in asked if body["temperature"] == 0]
        assert len(greedy) == len(set(greedy)) and len(asked) - len(greedy) in (0, 2, 4)
        best = json.loads((tmp_path / "best.json").read_text())
        assert best["prompt"]["layout"] == "chat"
        assert "of the judge" not in optimize(fake, tmp_path), "it has paid for none"
        assert sum("You mark answers" in json.dumps(body) for body in fake.bodies) == len(asked)


def test_a_new_recipe_is_in_order_and_nothing_is_overwritten(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "optimizer", "--new", "mine.py"]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("mine.py is written. Put your rows into it, then: "), done.stderr
    assert done.stdout.endswith("optimize mine.py --check\n")
    assert prepare(Settings(recipe=str(tmp_path / "mine.py"))).name == "mine"
    with pytest.raises(UserError, match="exists already"):
        write_starter(tmp_path / "mine.py")
    with pytest.raises(UserError, match=r"Try: \S*optimize --new \S*mine\.py"):
        write_starter(tmp_path / "mine.txt")
    write_starter(tmp_path / "2nd try.py")
    assert prepare(Settings(recipe=str(tmp_path / "2nd try.py"))).name == "task"
