"""Asking the teacher: once, in the order of rows, without a row's own label, and with no row lost."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.teach.teacher import fixed_text, is_demo
from promptstill.endpoint.allowance import LimitReached, Limits
from promptstill.prompt.layouts import LAYOUTS, Layout
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.parts import NearestDemos
from tests.support import ROOT
from tests.support.answers import BOXES, box, teacher_answers
from tests.support.fake import Body, FakeEndpoint


def test_each_row_is_asked_once_greedily_and_once_for_k_replies_by_chance(tmp_path: Path) -> None:
    prompt, rows = build_prompt(BOXES, "chat", "Answer."), [box(n) for n in range(6)]
    with FakeEndpoint() as fake:
        fake.delay_s = 0.01
        answers, reports = teacher_answers(fake.base_url, prompt, rows, tmp_path)
    assert [(a.example.id, a.sample) for a in answers] == [(f"id{n}", s) for n in range(6) for s in range(3)]
    temperatures = [body["temperature"] for body in fake.bodies]
    assert temperatures.count(0.0) == temperatures.count(0.8) == 6
    assert all(body.get("n") == (2 if body["temperature"] else None) for body in fake.bodies)
    assert not any("seed" in body for body in fake.bodies)
    greedy = next(body for body in fake.bodies if body["temperature"] == 0.0)
    assert greedy in [prompt.request(row.inputs) for row in rows], "the greedy call is the prompt's own, byte for byte"
    assert fake.most_in_flight == 4 and reports[-1] == (18, 18) and len(reports) == 12
    asked = [body["messages"][-1]["content"] for body in fake.bodies]
    last = {text: len(asked) - asked[::-1].index(text) for text in asked}
    assert all(last[text] - asked.index(text) <= 3 + 4 for text in asked), "a row's requests leave together"


def test_a_second_run_asks_nothing_and_a_stopped_one_only_the_rest(tmp_path: Path) -> None:
    prompt, rows = build_prompt(BOXES, "chat", "Answer."), [box(n) for n in range(10)]
    with FakeEndpoint() as fake:
        with pytest.raises(LimitReached):
            teacher_answers(fake.base_url, prompt, rows, tmp_path, limits=Limits(calls=11))
        assert sum(fake.calls.values()) == 11
        first, _ = teacher_answers(fake.base_url, prompt, rows, tmp_path)
        assert sum(fake.calls.values()) == 30
        again, reports = teacher_answers(fake.base_url, prompt, rows, tmp_path)
    assert sum(fake.calls.values()) == 30 and again == first and reports[-1] == (30, 30)


KILLED = """
import sys
from pathlib import Path
from promptstill.prompt.layouts.build import build_prompt
from tests.support.answers import BOXES, box, teacher_answers

prompt = build_prompt(BOXES, "chat", "Answer.")
teacher_answers(sys.argv[1], prompt, [box(n) for n in range(40)], Path(sys.argv[2]))
"""


def test_a_killed_run_repeats_only_what_was_in_flight(tmp_path: Path) -> None:
    import subprocess
    import sys
    import time

    with FakeEndpoint() as fake:
        fake.delay_s = 0.03
        argv = [sys.executable, "-c", KILLED, fake.base_url, str(tmp_path)]
        process = subprocess.Popen(argv, cwd=ROOT)
        deadline = time.monotonic() + 60
        while sum(fake.calls.values()) < 30:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.005)
        process.kill()
        process.wait()
        time.sleep(0.1)
        before = sum(fake.calls.values())
        answers, _ = teacher_answers(
            fake.base_url, build_prompt(BOXES, "chat", "Answer."), [box(n) for n in range(40)], tmp_path
        )
    assert len(answers) == 120 and before < 120
    assert sum(fake.calls.values()) <= 120 + 4 * 2, "at most the window may be asked again"


def test_no_row_is_lost(tmp_path: Path) -> None:
    def reply(body: Body) -> str:
        return "Answer: yes" if "box 1" in json.dumps(body) else "nothing of the form"

    prompt = build_prompt(BOXES, "chat", "Answer.", reasoning=True)
    with FakeEndpoint(reply) as fake:
        fake.misbehave = lambda number: 400 if number == 1 else None
        answers, _ = teacher_answers(fake.base_url, prompt, [box(0), box(1)], tmp_path, k=1)
    reasons = [str(answer.reason) for answer in answers]
    assert len(answers) == 4
    assert sum(reason.startswith("refused: ") and "told to answer 400" in reason for reason in reasons) == 1
    assert all(reason.startswith(("refused: ", "unparsed: the reply has no ")) for reason in reasons)


def test_a_reply_cut_at_max_tokens_is_unusable(tmp_path: Path) -> None:
    prompt, row = build_prompt(BOXES, "chat", "Answer."), box(0)
    with FakeEndpoint() as fake:
        teacher_answers(fake.base_url, prompt, [row], tmp_path, k=0)
        with closing(sqlite3.connect(tmp_path / "calls.db")) as calls, calls:
            calls.execute("UPDATE calls SET completion = replace(completion, '\"stop\"', '\"length\"')")
        answers, _ = teacher_answers(fake.base_url, prompt, [row], tmp_path, k=0)
    assert [str(answer.reason) for answer in answers] == ["cut at max_tokens"] and answers[0].text == "hold?"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_fixed_demo_is_not_asked(layout: Layout, tmp_path: Path) -> None:
    rows = [box(n, answer=f"thing {n}") for n in range(12)]
    demos = [{**rows[n].inputs, "answer": "copied"} for n in (3, 1)]
    prompt = build_prompt(BOXES, layout, "Say {what} the box holds.", demos, k=2)
    with FakeEndpoint() as fake:
        answers, reports = teacher_answers(fake.base_url, prompt, rows, tmp_path, k=1)
    not_asked = [a for a in answers if str(a.reason) == "stands in the prompt as a demo"]
    assert [a.example.id for a in not_asked] == ["id1", "id3"] and sum(fake.calls.values()) == 20
    assert reports[-1] == (20, 20) and [a.example.id for a in answers][:4] == ["id0", "id0", "id1", "id2"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_nearest_demo_is_never_the_row_itself_or_its_near_duplicate(layout: Layout, tmp_path: Path) -> None:
    near = {"topic": "boxes", "question": "What does BOX 1 hold ?", "answer": "near"}
    pool = tuple({**box(n).inputs, "answer": f"own-{n}-label"} for n in range(8))
    prompt = build_prompt(BOXES, layout, "Answer.", NearestDemos(("question",), (*pool, near)), k=3)
    with FakeEndpoint() as fake:
        answers, _ = teacher_answers(fake.base_url, prompt, [box(n) for n in range(8)], tmp_path, k=0)
    assert len(answers) == 8 == sum(fake.calls.values())
    for body in fake.bodies:
        number = str(body["messages"][-1]["content"]).rsplit("box ", 1)[1].split(" ")[0]
        text = json.dumps(body["messages"])
        assert f"own-{number}-label" not in text and text.count("-label") >= 2
        assert number != "1" or "near" not in text


def test_a_word_of_the_instruction_is_no_demo() -> None:
    fixed = fixed_text(build_prompt(BOXES, "chat", "Say whether it is good or bad."))
    assert not is_demo(fixed, {"review": "good"}) and not is_demo(fixed, {"review": ""})


@settings(deadline=None)
@given(topic=st.text(), question=st.text(), layout=st.sampled_from(list(LAYOUTS)))
def test_any_fixed_demo_is_found(topic: str, question: str, layout: Layout) -> None:
    demo: dict[str, Any] = {"topic": topic, "question": question, "answer": "a"}
    fixed = fixed_text(build_prompt(BOXES, layout, "I", [demo], k=1))
    inputs = {"topic": topic, "question": question}
    assert is_demo(fixed, inputs) or not (topic.strip() or question.strip())
