"""A prompt's answer: what it is where the model fails, that a question is rendered once, and that nobody else asks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from promptstill.endpoint.client import Client
from promptstill.prompt.layouts.build import build_prompt
from promptstill.scoring.answer import ModelAnswer, Question, answer, stored_answer
from tests.support import ROOT
from tests.support.client import run_with_client
from tests.support.fake import FakeEndpoint
from tests.support.tasks import ANSWER, ANSWER_INPUTS

PROMPT = build_prompt(ANSWER, "json", "Answer.")
ALTER_REQUESTS = {
    # to find out what an endpoint takes
    *("promptstill/scoring/probe.py", "promptstill/scoring/port.py", "optimizer/measure/subject.py"),
    "promptstill/scoring/calibration/readings.py",  # for log-probabilities
    "distill/verdict/adapter_check.py",
}


def answered(fake: FakeEndpoint, folder: Path) -> ModelAnswer:
    with fake:
        return run_with_client(fake, folder, lambda client: answer(PROMPT, ANSWER_INPUTS, client))


def test_an_answer_has_outputs_or_says_why_not(tmp_path: Path) -> None:
    right = answered(FakeEndpoint(lambda body: '{"answer": "jam"}'), tmp_path)
    assert (right.outputs, right.reason, right.problem) == ({"answer": "jam"}, None, None) and not right.cut
    assert right.completion.prompt_tokens and right.completion.text == '{"answer": "jam"}'


def test_a_reply_without_outputs_keeps_its_text_and_its_cost(tmp_path: Path) -> None:
    given = answered(FakeEndpoint(lambda body: "jam"), tmp_path)
    assert (given.outputs, given.problem, given.completion.text) == (None, "unparsed", "jam")
    assert given.reason == f"unparsed: {given.detail}" and given.completion.prompt_tokens


def test_a_cut_reply_without_outputs_says_so(tmp_path: Path) -> None:
    fake = FakeEndpoint(lambda body: '{"answer": "j', finish=lambda body: "length")
    given = answered(fake, tmp_path)
    assert given.cut and str(given.reason).startswith("unparsed (cut at max_tokens): ")


def test_a_refused_request_is_an_answer_without_a_reply(tmp_path: Path) -> None:
    fake = FakeEndpoint()
    fake.misbehave = lambda number: 400
    given = answered(fake, tmp_path)
    assert (given.outputs, given.problem, given.completion.text) == (None, "refused", "")
    assert str(given.reason).startswith("refused: ") and not given.completion.prompt_tokens and not given.cut


class Counted(dict[str, Any]):
    """Inputs that count how often they are read."""

    reads = 0

    def __getitem__(self, name: str) -> Any:
        self.reads += 1
        return super().__getitem__(name)


def test_a_question_is_rendered_once_however_often_it_is_asked(tmp_path: Path) -> None:
    inputs = Counted(ANSWER_INPUTS)
    question = Question(PROMPT, inputs)

    async def ask(client: Client) -> list[ModelAnswer]:
        return [await question.ask(client, "teacher", sample=n, temperature=0.5 * n) for n in range(3)]

    with FakeEndpoint() as fake:
        assert inputs.reads == 0, "it is rendered when it is asked"
        assert len(run_with_client(fake, tmp_path, ask)) == 3
    assert inputs.reads == len(ANSWER_INPUTS)
    assert [body["temperature"] for body in fake.bodies] == [0.0, 0.5, 1.0]
    assert fake.bodies[0] == PROMPT.request(ANSWER_INPUTS)


def test_a_stored_answer_takes_no_call(tmp_path: Path) -> None:
    async def before_and_after(client: Client) -> list[ModelAnswer | None]:
        before = stored_answer(PROMPT, ANSWER_INPUTS, client)
        asked = await answer(PROMPT, ANSWER_INPUTS, client)
        return [before, asked, stored_answer(PROMPT, ANSWER_INPUTS, client)]

    with FakeEndpoint(lambda body: '{"answer": "jam"}') as fake:
        before, asked, after = run_with_client(fake, tmp_path, before_and_after)
    assert before is None and after == asked and sum(fake.calls.values()) == 1


def requesters() -> Iterator[str]:
    """The files of search and distillation that build a request."""
    for package in ("promptstill", "optimizer", "distill"):
        for path in (ROOT / package).rglob("*.py"):
            calls = (
                node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
            )
            if any(isinstance(call.func, ast.Attribute) and call.func.attr == "request" for call in calls):
                yield path.relative_to(ROOT).as_posix()


def test_nobody_else_builds_a_request_but_to_alter_it() -> None:
    assert set(requesters()) == {"promptstill/scoring/answer.py", *ALTER_REQUESTS}
