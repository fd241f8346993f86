"""A program's run with a prompt in place of one predictor: what is asked, counted and scored."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import dspy
import pytest

from promptstill import Prompt, Recipe, UserError, exact_match
from promptstill.endpoint.allowance import LimitReached, Limits
from promptstill.endpoint.client import Client
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.scoring.dspy_engine import ClientEngine
from promptstill.scoring.evaluate import ScoredRow, score_rows
from promptstill.scoring.program import record_rows
from promptstill.task.examples import Example
from promptstill.task.program import program_example
from promptstill.task.subject import read_subject
from tests.support.client import run_with_client
from tests.support.fake import Body, FakeEndpoint

Result = TypeVar("Result")
METRIC = exact_match("answer")


class Shout(dspy.Module):
    """Three predictors: a word is cleaned, counted and told; the count is of the type that its signature says."""

    def __init__(self) -> None:
        super().__init__()
        self.clean = dspy.Predict("word -> plain")
        self.count = dspy.Predict(dspy.Signature("plain -> letters: int", "Count."))
        self.tell = dspy.Predict("plain, letters: int -> answer")

    def forward(self, word: str) -> Any:
        plain = self.clean(word=word).plain
        letters = self.count(plain=plain).letters
        assert isinstance(letters, int), "what the prompt answers has the signature's type"
        return self.tell(plain=plain, letters=letters)


def shouting(body: Body) -> str:
    """Each predictor's reply in DSPy's form; the count is right where the instruction says how to count."""
    system, last = str(body["messages"][0]["content"]), str(body["messages"][-1]["content"])
    values = dict(re.findall(r"\[\[ ## (\w+) ## \]\]\n(.*?)\n", last))
    if "`answer`" in system:
        return f"[[ ## answer ## ]]\n{values['letters']} {values['plain']}\n\n[[ ## completed ## ]]"
    if "`letters`" in system:
        right = "letter by letter" in system or values["plain"].startswith("a")
        letters = len(values["plain"]) if right else "many"
        return f"[[ ## letters ## ]]\n{letters}\n\n[[ ## completed ## ]]"
    return f"[[ ## plain ## ]]\n{values['word'].lower()}\n\n[[ ## completed ## ]]"


WORDS = ("AB", "ABC", "CD", "CDEF", "EFG")
ROWS = [{"word": word, "answer": f"{len(word)} {word.lower()}"} for word in WORDS]


def recipe_of(module: Any = None, **changes: Any) -> Recipe:
    return Recipe.from_program(
        module or Shout(), predictor="count", examples=ROWS, metric=METRIC, model="fake", **changes
    )


def prepare(instruction: str, recipe: Recipe) -> tuple[Prompt, list[Example]]:
    subject = read_subject(recipe.signature)
    task = Task(subject.signature, "fake", 32, structured=False, own=subject.own)
    rows = [program_example(row, n, recipe, recipe.signature) for n, row in enumerate(recipe.examples, 1)]
    return build_prompt(task, "dspy-chat", instruction), rows


def ask(
    fake: FakeEndpoint, folder: Path, work: Callable[[Client], Awaitable[Result]], limits: Limits | None = None
) -> Result:
    with fake:
        return run_with_client(fake, folder, work, limits)


def score(instruction: str, folder: Path, fake: FakeEndpoint, module: Any = None) -> list[ScoredRow]:
    prompt, rows = prepare(instruction, recipe_of(module))
    return ask(fake, folder, lambda client: score_rows(prompt, rows, METRIC, client))


def test_rows_are_scored_on_the_program_s_own_output(tmp_path: Path) -> None:
    fake = FakeEndpoint(shouting)
    results = score("Count letter by letter.", tmp_path, fake)
    assert [one.score for one in results] == [1.0] * 5
    assert results[0].outputs == {"answer": "2 ab"} and results[0].answered == {"plain": "ab", "letters": 2}
    assert results[0].reply == '{"answer":"2 ab"}' and not any(one.cut for one in results)
    assert fake.requests == 15 and set(fake.calls.values()) == {1}
    tokens = sum(len(str(body["messages"])) // 4 for body in fake.bodies)
    assert sum(one.prompt_tokens for one in results) >= tokens, "all calls of a run are its cost"


def test_a_reply_that_does_not_parse_is_a_zero_with_its_reason(tmp_path: Path) -> None:
    results = score("Count.", tmp_path, FakeEndpoint(shouting))
    assert [one.score for one in results] == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert str(results[2].reason).startswith("unparsed: letters: 'many' is not an integer")


def test_the_other_predictors_are_asked_once_for_all_candidates(tmp_path: Path) -> None:
    recipe, fake = recipe_of(), FakeEndpoint(shouting)
    prompts = [prepare(f"Count letter by letter, way {n}.", recipe)[0] for n in range(3)]
    rows = prepare("", recipe)[1]

    async def score_all(client: Client) -> int:
        for prompt in prompts:
            await score_rows(prompt, rows, METRIC, client)
        return client.allowance.reused

    assert ask(fake, tmp_path, score_all) == 20 and fake.requests == 5 + 3 * 5 + 5


def test_predictors_with_a_model_of_their_own_ask_the_recipe_s(tmp_path: Path) -> None:
    module = Shout()
    module.set_lm(dspy.LM("openai/none", api_base="http://127.0.0.1:9/v1", api_key="x"))
    fake = FakeEndpoint(shouting)
    assert sum(one.score for one in score("Count letter by letter.", tmp_path, fake, module)) == 5
    assert {body["model"] for body in fake.bodies} == {"fake"} and module.clean.lm is not None


def test_a_limit_stops_the_run_whatever_the_program_catches(tmp_path: Path) -> None:
    class Careless(Shout):
        def forward(self, word: str) -> Any:
            try:
                return super().forward(word)
            except Exception:
                return dspy.Prediction(answer="?")

    prompt, rows = prepare("Count.", recipe_of(Careless()))
    with pytest.raises(LimitReached):
        ask(FakeEndpoint(shouting), tmp_path, lambda client: score_rows(prompt, rows, METRIC, client), Limits(calls=4))


def test_a_program_that_raises_fails_its_row_alone(tmp_path: Path) -> None:
    class Picky(Shout):
        def forward(self, word: str) -> Any:
            if word == "AB":
                raise KeyError("no AB")
            return str(word) if word == "ABC" else super().forward(word)

    results = score("Count letter by letter.", tmp_path, FakeEndpoint(shouting), Picky())
    assert [one.score for one in results] == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert results[0].reason == "unparsed: the program raised KeyError: 'no AB'"
    assert results[1].reason == "unparsed: the program raised TypeError: forward returned str, not a dspy.Prediction"


def record(module: Any, folder: Path, metric: Any = METRIC) -> list[Example]:
    prompt, rows = prepare("Count.", recipe_of(module))
    return ask(FakeEndpoint(shouting), folder, lambda client: record_rows(prompt, rows, metric, client))


def test_demos_are_recorded_from_runs_that_scored_in_full(tmp_path: Path) -> None:
    recorded = record(Shout(), tmp_path)
    assert [(one.inputs["plain"], one.outputs) for one in recorded] == [
        *(("ab", {"letters": 2}), ("abc", {"letters": 3})),
        *(("cd", {}), ("cdef", {}), ("efg", {})),
    ]
    assert recorded[0].whole and recorded[0].whole.inputs == {"word": "AB"} and recorded[0].program is not None
    low = record(Shout(), tmp_path, lambda example, prediction: 1.0 if example.word == "AB" else 0.5)
    assert [one.outputs for one in low] == [{"letters": 2}, {}, {}, {}, {}], "a run that scored less is no demo"


def test_a_recorded_row_is_scored_as_its_program_s_row(tmp_path: Path) -> None:
    recorded = record(Shout(), tmp_path)
    prompt, _ = prepare("Count letter by letter.", recipe_of())
    rows = [replace(one, program=recipe_of().signature) for one in recorded]
    results = ask(FakeEndpoint(shouting), tmp_path, lambda client: score_rows(prompt, rows, METRIC, client))
    assert [one.score for one in results] == [1.0] * 5


def test_a_predictor_that_is_never_asked_is_told(tmp_path: Path) -> None:
    class Idle(Shout):
        def forward(self, word: str) -> Any:
            return dspy.Prediction(answer=word)

    with pytest.raises(UserError, match=r"No run of the program asked the predictor"):
        record(Idle(), tmp_path)


def test_a_predictor_whose_answers_never_parse_is_told(tmp_path: Path) -> None:
    prompt, rows = prepare("Count.", recipe_of())
    with pytest.raises(UserError, match="that can be read"):
        ask(FakeEndpoint(shouting), tmp_path, lambda client: record_rows(prompt, rows[2:], METRIC, client))


def test_the_program_comes_back_with_the_prompt_and_is_saved(tmp_path: Path) -> None:
    recipe = recipe_of()
    subject = read_subject(recipe.signature)
    task = Task(subject.signature, "fake", 32, structured=False, own=subject.own)
    demos = [{"plain": "ab", "letters": 2}]
    prompt = build_prompt(task, "dspy-chat", "Count letter by letter.", demos, k=1)
    better = recipe.program_with(prompt)
    better.save(tmp_path / "program.json")
    loaded = Shout()
    loaded.load(tmp_path / "program.json")
    assert recipe.signature.module.count.signature.instructions == "Count.", "the user's program stays as it was"
    sent = dspy.ChatAdapter().format(loaded.count.signature, loaded.count.demos, {"plain": "cd"})
    assert sent == prompt.messages({"plain": "cd"})
    other = build_prompt(Task(dspy.Signature("a -> b"), "fake", 8), "dspy-chat", "x")
    with pytest.raises(UserError, match="not of the predictor count"):
        recipe.program_with(other)


@pytest.mark.parametrize(("field", "cut"), [("plain", False), ("letters", True), ("answer", False)])
def test_the_prompt_s_own_replies_alone_count_as_cut(field: str, cut: bool, tmp_path: Path) -> None:
    """The advice is to raise the recipe's max_tokens, which is no limit of the other predictors."""

    def finish(body: Body) -> str:
        return "length" if shouting(body).startswith(f"[[ ## {field} ## ]]") else "stop"

    results = score("Count letter by letter.", tmp_path, FakeEndpoint(shouting, finish=finish))
    assert [one.cut for one in results] == [cut] * 5 and results[0].score == 1.0


def test_a_thread_that_nobody_waits_for_ends(tmp_path: Path) -> None:
    """Its next call stands in a loop that runs no more."""
    loop = asyncio.new_event_loop()

    async def work(client: Client) -> ClientEngine:
        return ClientEngine(client, "fake", 0, loop, "task", 0.0, 8)

    engine = ask(FakeEndpoint(), tmp_path, work)
    engine.stopped = True
    call = asyncio.sleep(0)
    with pytest.raises(CancelledError):
        engine.wait(call)
    call.close()
    loop.close()
