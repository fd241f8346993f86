"""The judge: how its reply is read, and that it is asked each question once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import optimizer
from optimizer import SearchSettings
from optimizer.command.summary import costs
from promptstill import Judge, UserError, exact_match
from promptstill.endpoint.allowance import Allowance, Limits
from promptstill.errors import ReplyError
from promptstill.task.judge import judge_paid_by, judges_at, read_mark, refuse_idle_judge, refuse_other_judge, to_judge
from tests.support import ROOT
from tests.support.fake import Body, FakeEndpoint
from tests.support.providers.hosted import Claude
from tests.support.providers.openai import OpenAIReasoning

MARKS = [
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
NO_MARKS = ["", "It is fine.", "Score: 85", "Score: -3", "3 facts, 2 wrong", "<think>Score: 5", "11/10", "Score: 7/0"]


@pytest.mark.parametrize(("text", "mark"), MARKS)
def test_a_mark_is_read(text: str, mark: float) -> None:
    assert read_mark(text) == pytest.approx(mark)


@pytest.mark.parametrize("text", NO_MARKS)
def test_no_mark_is_guessed(text: str) -> None:
    with pytest.raises(ReplyError):
        read_mark(text)


def test_another_judge_takes_the_place_of_those_that_a_recipe_makes_meanwhile() -> None:
    with judges_at(to_judge("strict@v2@https://host/v1", None, "MINE")):
        there, nowhere = Judge("http://127.0.0.1:9/v1", "own", api_key_env="OWN"), Judge("", "")
    for judge in (there, nowhere):
        assert (judge.base_url, judge.model, judge.api_key_env) == ("https://host/v1", "strict@v2", "MINE")
    with judges_at(to_judge("strict", None, "MINE")):
        same_place = Judge("http://127.0.0.1:9/v1", "own", api_key_env="OWN")
    assert (same_place.base_url, same_place.model) == ("http://127.0.0.1:9/v1", "strict")
    assert same_place.api_key_env == "OWN", "a key goes nowhere but where it was named for"
    assert Judge("http://127.0.0.1:9/v1", "own").model == "own"


def test_a_judge_at_a_provider_marks(
    make_judge: Callable[[FakeEndpoint], Judge], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Claude(lambda body: "Score: 7") as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        with judges_at(to_judge(fake.name, None, "MINE")):
            judge = make_judge(fake)
        assert judge.base_url == "litellm://anthropic" and judge.mark("How good is it?") == 0.7
    assert fake.requests == 1


def test_a_judge_that_nobody_asks_and_a_key_without_a_judge_are_refused() -> None:
    def judged(example: Any, prediction: Any) -> float:
        return 1.0

    judged.judge = True  # type: ignore[attr-defined]  # functions may have attributes; their type has none
    refuse_idle_judge(exact_match("code"))
    with judges_at(to_judge("strict", None, "MINE")):
        with pytest.raises(UserError, match="The recipe's metric asks no model"):
            refuse_idle_judge(exact_match("code"))
        with pytest.raises(UserError, match="makes no Judge while the recipe is loaded"):
            refuse_idle_judge(judged)
        Judge("http://127.0.0.1:9/v1", "own")
        refuse_idle_judge(judged)
    with pytest.raises(UserError, match="--api-key-env judge=X is for --judge"):
        to_judge(None, "X", "MINE")


@pytest.mark.parametrize(("recorded", "asked"), [(None, "strict"), ("strict@http://h/v1", None), ("strict", "mild")])
def test_marks_of_two_judges_are_not_compared(recorded: str | None, asked: str | None) -> None:
    with judges_at(to_judge(asked, None, "MINE")), pytest.raises(UserError, match="Marks of two judges"):
        refuse_other_judge(recorded, "best.json")
    with judges_at(to_judge(recorded, None, "MINE")):
        refuse_other_judge(recorded, "best.json")


@pytest.fixture
def make_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[FakeEndpoint], Judge]]:
    """Makes judges with a cache of the test's own, and closes them after it."""
    monkeypatch.setenv("PROMPTSTILL_CACHE", str(tmp_path / "cache"))
    judges: list[Judge] = []

    def make(fake: FakeEndpoint) -> Judge:
        judges.append(Judge(fake.base_url, fake.model))
        return judges[-1]

    yield make
    for judge in judges:
        judge.close()


def test_a_question_is_asked_once(make_judge: Callable[[FakeEndpoint], Judge]) -> None:
    with FakeEndpoint(lambda body: "Score: 7") as fake, ThreadPoolExecutor(8) as pool:
        fake.delay_s = 0.05
        judge = make_judge(fake)
        assert set(pool.map(judge.mark, ["same"] * 16)) == {0.7}
        assert make_judge(fake).mark("same") == 0.7
        assert list(fake.calls.values()) == [1]
        assert judge.mark("other") == 0.7 and len(fake.calls) == 2


def test_after_a_reply_without_a_mark_the_judge_is_asked_again(make_judge: Callable[[FakeEndpoint], Judge]) -> None:
    with FakeEndpoint(lambda body: "Score: 2" if body["temperature"] else "Well.") as fake:
        assert make_judge(fake).mark("q") == 0.2
        assert make_judge(fake).review("q") == (0.2, "Score: 2")
        assert [body["temperature"] for body in fake.bodies] == [0.0, 0.7]
    with FakeEndpoint(lambda body: "Well.") as mute, pytest.raises(ReplyError, match="holds no mark"):
        make_judge(mute).mark("q")
    assert sum(mute.calls.values()) == 3


def test_a_judge_that_marks_none_of_the_first_answers_stops_the_run(
    make_judge: Callable[[FakeEndpoint], Judge],
) -> None:
    with FakeEndpoint(lambda body: "It is a good answer.") as mute:
        judge = make_judge(mute)
        for number in range(9):
            with pytest.raises(ReplyError):
                judge.mark(f"q{number}")
        with pytest.raises(UserError) as caught:
            judge.mark("q9")
    assert caught.value.what == "The judge fake gave no mark to the first 10 answers."
    assert "It is a good answer." in caught.value.why and mute.calls.total() == 30


def test_a_judge_that_marked_once_may_miss_any_number(make_judge: Callable[[FakeEndpoint], Judge]) -> None:
    with FakeEndpoint(lambda body: "Score: 3" if "good" in str(body["messages"]) else "Well.") as fake:
        judge = make_judge(fake)
        assert judge.mark("good") == 0.3
        for number in range(12):
            with pytest.raises(ReplyError):
                judge.mark(f"q{number}")


def test_a_review_is_the_mark_and_the_reply_without_its_thinking(make_judge: Callable[[FakeEndpoint], Judge]) -> None:
    with FakeEndpoint(lambda body: "<think>Score: 9?</think>\nIt names no place.\nScore: 4") as fake:
        assert make_judge(fake).review("q") == (0.4, "It names no place.\nScore: 4")


def test_a_refused_key_is_reported(make_judge: Callable[[FakeEndpoint], Judge]) -> None:
    with FakeEndpoint(key="other") as fake, pytest.raises(UserError, match="refused the API key"):
        make_judge(fake).mark("q")


def test_many_questions_at_once_find_out_what_the_endpoint_takes_and_are_all_paid(
    make_judge: Callable[[FakeEndpoint], Judge],
) -> None:
    with OpenAIReasoning(lambda body: "Score: 7", model="judge") as fake:
        fake.delay_s = 0.1
        judge, allowance = make_judge(fake), Allowance()

        def mark(number: int) -> float:
            with judge_paid_by(allowance):
                return judge.mark(f"question {number}")

        with ThreadPoolExecutor(16) as pool:
            marks = list(pool.map(mark, range(48)))
    assert marks == [0.7] * 48
    assert len(fake.bodies) == allowance.judge_cost.calls < 48 + 2 * 16, "what is answered is paid for"
    assert all("max_completion_tokens" in body for body in fake.bodies)


def test_each_run_counts_the_questions_that_it_paid_for(make_judge: Callable[[FakeEndpoint], Judge]) -> None:
    runs = Allowance(Limits(calls=1)), Allowance()
    questions = [f"first {n}" for n in range(7)], [f"second {n}" for n in range(4)]

    def ask(allowance: Allowance, texts: list[str]) -> None:
        with judge_paid_by(allowance):
            assert {judge.mark(text) for text in texts} == {0.7}

    with FakeEndpoint(lambda body: "Score: 7") as fake, ThreadPoolExecutor(2) as pool:
        fake.delay_s = 0.02
        judge = make_judge(fake)
        list(pool.map(ask, runs, questions))
        ask(runs[0], questions[1])
        judge.mark("asked by no run")
    assert [run.judge_cost.calls for run in runs] == [7, 4] and fake.calls.total() == 12
    assert all(run.judge_cost.tokens and not run.total.calls for run in runs)


def test_two_runs_in_one_process_count_apart_and_a_resumed_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTSTILL_CACHE", str(tmp_path / "cache"))
    counts, asked = [], []
    with FakeEndpoint(answer) as fake:
        for first in (0, 100):
            data = write_rows(tmp_path / f"rows-{first}.jsonl", first)
            parameters = {"data": str(data), "judge_url": fake.base_url, "judge_model": "fake"}
            settings = SearchSettings(
                recipe=str(ROOT / "recipes" / "judge.py"),
                parameters=parameters,
                model="fake",
                base_url=fake.base_url,
                proposals=0,
                layouts=("chat",),
                trials=2,
            )
            before = len(judge_questions(fake))
            result = optimizer.optimize(settings, runs=tmp_path / "runs", output=None)
            asked.append(len(judge_questions(fake)) - before)
            counts.append(spent(result.run.path)["roles"]["judge"]["calls"])
            assert f"besides, {asked[-1]} calls of the judge, " in "\n".join(costs(result))
        resumed = optimizer.optimize(resume=result.run.path, output=None)
    assert counts == asked and min(asked) > 0
    assert spent(resumed.run.path)["roles"]["judge"]["calls"] == asked[-1] and resumed.allowance.total.calls > 0
    assert resumed.best and resumed.best["search"]["spent"]["roles"]["judge"]["calls"] == asked[-1]


def spent(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "run.json").read_text())["spent"])


def judge_questions(fake: FakeEndpoint) -> list[Body]:
    return [body for body in fake.bodies if "You mark answers" in json.dumps(body)]


def write_rows(path: Path, first: int = 0) -> Path:
    numbers = range(first, first + 30)
    rows = [{"context": f"c{i}", "question": f"question {i}?", "answer": f"a{i}"} for i in numbers]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_nothing_is_opened_before_a_question() -> None:
    before = threading.active_count()
    Judge("http://127.0.0.1:1/v1", "m").close()
    assert threading.active_count() == before


def answer(body: Body) -> str:
    """The task's model answers "odd" or "even"; the judge marks half of the questions right, and one not at all."""
    text = str(body["messages"][-1]["content"])
    if "You mark answers" not in text:
        return "odd" if len(text) % 2 else "even"
    number = int(text.split("question ")[1].split("?", maxsplit=1)[0])
    return "Hm." if number == 7 else f"Reasons.\nScore: {10 * (number % 2)}"


def optimize(fake: FakeEndpoint, folder: Path) -> str:
    values = {"data": "rows.jsonl", "judge_url": fake.base_url, "judge_model": "fake"}
    parameters = [part for key, value in values.items() for part in ("-p", f"{key}={value}")]
    argv = [sys.executable, "-m", "optimizer", str(ROOT / "recipes" / "judge.py"), *parameters]
    argv += ["--base-url", fake.base_url, "--model", "fake", "--trials", "2", "--layout", "chat", "--proposals", "0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PROMPTSTILL_CACHE": str(folder / "cache")}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_run_is_judged_once_and_the_next_not_again(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl")
    with FakeEndpoint(answer) as fake:
        fake.delay_s = 0.02
        output = optimize(fake, tmp_path)
        questions = judge_questions(fake)
        assert len(questions) >= 15 and "Unclosed" not in output
        assert f"besides, {len(questions)} calls of the judge, " in output
        greedy = [json.dumps(body) for body in questions if body["temperature"] == 0]
        assert len(greedy) == len(set(greedy)) and len(questions) - len(greedy) in (0, 2, 4)
        best = json.loads((tmp_path / "best.json").read_text())
        assert best["prompt"]["layout"] == "chat"
        cost = spent(next((tmp_path / "runs").iterdir()))
        assert cost["roles"]["judge"]["calls"] == len(questions)
        assert cost["total"]["calls"] == len(fake.bodies) - len(questions), "no sum has them"
        assert "of the judge" not in optimize(fake, tmp_path), "it has paid for none"
        assert len(judge_questions(fake)) == len(questions)
