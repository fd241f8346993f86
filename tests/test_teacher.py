"""The teacher's answers: asked once, in the order of rows, never a row's own label, and no row lost."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.teacher import Answer, ask_teacher, shown_text, stands_in
from optimizer.budget import Budget, Meter
from optimizer.calls import SqliteCalls
from optimizer.client import Client, Endpoint
from optimizer.errors import BudgetReached
from optimizer.examples import Example
from optimizer.layouts import LAYOUTS, NearestDemos, Task, build
from optimizer.prompt import Layout, Prompt
from tests.fake import Body, FakeEndpoint


class Ask(dspy.Signature):
    """Answer."""

    topic: str = dspy.InputField()
    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


TASK = Task(Ask, "fake", 8)


def example(number: int, topic: str = "boxes", **outputs: str) -> Example:
    inputs = {"topic": topic, "question": f"What does box {number} hold?"}
    return Example(f"id{number}", f"rows.jsonl, line {number}", inputs, outputs, {**inputs, **outputs}, f"id{number}")


def teach(
    fake: FakeEndpoint, prompt: Prompt, rows: list[Example], path: Path, *, k: int = 2, budget: Budget | None = None
) -> tuple[list[Answer], list[tuple[int, int]]]:
    """The answers, and what the progress callback heard."""
    heard: list[tuple[int, int]] = []

    async def run() -> list[Answer]:
        endpoint = Endpoint(fake.base_url, "weights", window=4)
        with closing(SqliteCalls(path / "calls.db")) as store:
            async with Client(endpoint, store, Meter(budget or Budget(), store.totals())) as client:
                return await ask_teacher(
                    prompt, rows, client, k=k, temperature=0.8, report=lambda done, total: heard.append((done, total))
                )

    return asyncio.run(run()), heard


def test_each_row_is_asked_once_greedily_and_k_times_by_chance(tmp_path: Path) -> None:
    prompt, rows = build(TASK, "chat", "Answer."), [example(n) for n in range(6)]
    with FakeEndpoint() as fake:
        fake.delay_s = 0.01
        answers, heard = teach(fake, prompt, rows, tmp_path)
    assert [(a.example.id, a.sample) for a in answers] == [(f"id{n}", s) for n in range(6) for s in range(3)]
    temperatures = [body["temperature"] for body in fake.bodies]
    assert temperatures.count(0.0) == 6 and temperatures.count(0.8) == 12
    assert not any("seed" in body for body in fake.bodies)
    greedy = next(body for body in fake.bodies if body["temperature"] == 0.0)
    assert greedy in [prompt.request(row.inputs) for row in rows], "the greedy call is the prompt's own, byte for byte"
    assert fake.most_in_flight == 4 and heard[-1] == (18, 18) and len(heard) == 18
    asked = [body["messages"][-1]["content"] for body in fake.bodies]
    last = {text: len(asked) - asked[::-1].index(text) for text in asked}
    assert all(last[text] - asked.index(text) <= 3 + 4 for text in asked), "a row's requests leave together"


def test_a_second_run_asks_nothing_and_a_stopped_one_only_the_rest(tmp_path: Path) -> None:
    prompt, rows = build(TASK, "chat", "Answer."), [example(n) for n in range(10)]
    with FakeEndpoint() as fake:
        with pytest.raises(BudgetReached):
            teach(fake, prompt, rows, tmp_path, budget=Budget(calls=11))
        assert sum(fake.calls.values()) == 11
        first, _ = teach(fake, prompt, rows, tmp_path)
        assert sum(fake.calls.values()) == 30
        again, heard = teach(fake, prompt, rows, tmp_path)
    assert sum(fake.calls.values()) == 30 and again == first and heard[-1] == (30, 30)


KILLED = """
import sys
from pathlib import Path
from tests.test_teacher import TASK, build, example, teach

class Fake:
    base_url = sys.argv[1]

teach(Fake, build(TASK, "chat", "Answer."), [example(n) for n in range(40)], Path(sys.argv[2]))
"""


def test_a_killed_run_repeats_only_what_was_in_flight(tmp_path: Path) -> None:
    import subprocess
    import sys
    import time

    with FakeEndpoint() as fake:
        fake.delay_s = 0.03
        argv = [sys.executable, "-c", KILLED, fake.base_url, str(tmp_path)]
        process = subprocess.Popen(argv, cwd=Path(__file__).parents[1])
        deadline = time.monotonic() + 60
        while sum(fake.calls.values()) < 30:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.005)
        process.kill()
        process.wait()
        time.sleep(0.1)
        before = sum(fake.calls.values())
        answers, _ = teach(fake, build(TASK, "chat", "Answer."), [example(n) for n in range(40)], tmp_path)
    assert len(answers) == 120 and before < 120
    assert sum(fake.calls.values()) <= 120 + 4, "at most the window may be asked again"


def test_no_row_is_lost(tmp_path: Path) -> None:
    def reply(body: Body) -> str:
        return "Answer: yes" if "box 1" in json.dumps(body) else "nothing of the form"

    prompt = build(TASK, "chat", "Answer.", reasoning=True)
    with FakeEndpoint(reply) as fake:
        fake.misbehave = lambda number: 400 if number == 1 else None
        answers, _ = teach(fake, prompt, [example(0), example(1)], tmp_path, k=1)
    reasons = [str(answer.reason) for answer in answers]
    assert len(answers) == 4
    assert sum(reason.startswith("refused: ") and "told to answer 400" in reason for reason in reasons) == 1
    assert all(reason.startswith(("refused: ", "unparsed: the reply has no ")) for reason in reasons)


def test_a_reply_cut_at_max_tokens_is_of_no_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, row = build(TASK, "chat", "Answer."), example(0)
    store = SqliteCalls(tmp_path / "calls.db")
    with FakeEndpoint() as fake:
        teach(fake, prompt, [row], tmp_path, k=0)
        store.db.execute("UPDATE calls SET completion = replace(completion, '\"stop\"', '\"length\"')")
        store.close()
        answers, _ = teach(fake, prompt, [row], tmp_path, k=0)
    assert [str(answer.reason) for answer in answers] == ["cut at max_tokens"] and answers[0].text == "hold?"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_fixed_demo_is_not_asked(layout: Layout, tmp_path: Path) -> None:
    rows = [example(n, answer=f"thing {n}") for n in range(12)]
    demos = [{**rows[n].inputs, "answer": "copied"} for n in (3, 1)]
    prompt = build(TASK, layout, "Say {what} the box holds.", demos, k=2)
    with FakeEndpoint() as fake:
        answers, heard = teach(fake, prompt, rows, tmp_path, k=1)
    unasked = [a for a in answers if str(a.reason) == "stands in the prompt as a demo"]
    assert [a.example.id for a in unasked] == ["id1", "id3"] and sum(fake.calls.values()) == 20
    assert heard[-1] == (20, 20) and [a.example.id for a in answers][:4] == ["id0", "id0", "id1", "id2"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_nearest_demo_is_never_the_row_itself_or_its_near_duplicate(layout: Layout, tmp_path: Path) -> None:
    near = {"topic": "boxes", "question": "What does BOX 1 hold ?", "answer": "near"}
    pool = tuple({**example(n).inputs, "answer": f"own-{n}-label"} for n in range(8))
    prompt = build(TASK, layout, "Answer.", NearestDemos(("question",), (*pool, near)), k=3)
    with FakeEndpoint() as fake:
        answers, _ = teach(fake, prompt, [example(n) for n in range(8)], tmp_path, k=0)
    assert len(answers) == 8 == sum(fake.calls.values())
    for body in fake.bodies:
        number = str(body["messages"][-1]["content"]).rsplit("box ", 1)[1].split(" ")[0]
        text = json.dumps(body["messages"])
        assert f"own-{number}-label" not in text and text.count("-label") >= 2
        assert number != "1" or "near" not in text


def test_a_word_of_the_instruction_is_no_demo() -> None:
    shown = shown_text(build(TASK, "chat", "Say whether it is good or bad."))
    assert not stands_in(shown, {"review": "good"}) and not stands_in(shown, {"review": ""})


@settings(deadline=None)
@given(topic=st.text(), question=st.text(), layout=st.sampled_from(LAYOUTS))
def test_any_fixed_demo_is_found(topic: str, question: str, layout: Layout) -> None:
    demo: dict[str, Any] = {"topic": topic, "question": question, "answer": "a"}
    shown = shown_text(build(TASK, layout, "I", [demo], k=1))
    inputs = {"topic": topic, "question": question}
    assert stands_in(shown, inputs) or not (topic.strip() or question.strip())
