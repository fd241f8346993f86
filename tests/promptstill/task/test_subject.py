"""Where a signature stands in a recipe: what is taken, and what is refused with the way out."""

from __future__ import annotations

from typing import Any

import dspy
import pytest

from promptstill import Recipe, UserError, exact_match
from promptstill.prompt.layouts.task import Task
from promptstill.task.subject import read_subject

DEMO = {"question": "q", "answer": "a"}


class Ask(dspy.Signature):
    """Answer."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


class Two(dspy.Module):
    """A program with a predictor of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.search = dspy.Predict("question -> passage")
        self.generate = dspy.ChainOfThought("passage, question -> answer")

    def forward(self, question: str) -> Any:
        return self.generate(question=question, passage=self.search(question=question).passage)


def fields(given: Any) -> tuple[list[str], list[str]]:
    task = Task(read_subject(given).signature, "m", 8)
    return [field.name for field in task.inputs], [field.name for field in task.outputs]


def with_demos(module: Any, *demos: dict[str, Any]) -> Any:
    module.predictors()[0].demos = [dspy.Example(**demo, augmented=True) for demo in demos]
    return module


def test_a_class_and_a_text_are_signatures() -> None:
    assert read_subject(Ask).own is None and read_subject(Ask).signature is Ask
    assert fields("question -> answer") == (["question"], ["answer"])
    task = Task(read_subject("text -> label: Literal['yes', 'no'], n: int").signature, "m", 8)
    assert [field.choices for field in task.outputs] == [["yes", "no"], None]


def test_a_predictor_brings_its_demos_and_a_chain_of_thought_its_reasoning() -> None:
    plain = read_subject(with_demos(dspy.Predict(Ask), DEMO, {"question": "only this"}))
    assert plain.own and plain.own.demos == (DEMO,) and not plain.own.reasons
    assert plain.signature.instructions == "Answer."
    reasoned = read_subject(with_demos(dspy.ChainOfThought(Ask), {**DEMO, "reasoning": "so"}))
    assert list(reasoned.signature.fields) == ["question", "answer"]
    assert reasoned.own and reasoned.own.reasons and reasoned.own.demos == ({**DEMO, "reasoning": "so"},)


@pytest.mark.parametrize(
    ("given", "what", "do"),
    [
        (Two(), "is the program Two, which is no signature", "Recipe.from_program(program, predictor='search'"),
        (dspy.ReAct("question -> answer", tools=[]), "is the program ReAct", "Recipe.from_program(program, predictor="),
        ("question", "The signature 'question' cannot be read", "question -> answer"),
        ("a b -> c", "The signature 'a b -> c' cannot be read", "question -> answer"),
        ("a: Nonsense -> c", "The signature 'a: Nonsense -> c' cannot be read", "question -> answer"),
        (7, "is int, which is no signature", "Recipe.from_program"),
        (Two, "is Two, which is no signature", "Recipe.from_program"),
        (None, "is NoneType, which is no signature", "Recipe.from_program"),
    ],
)
def test_anything_else_is_refused_with_the_way_out(given: Any, what: str, do: str) -> None:
    with pytest.raises(UserError) as caught:
        read_subject(given)
    assert what in caught.value.what and do in caught.value.do


def test_the_predictors_of_a_program_are_listed() -> None:
    with pytest.raises(UserError, match="Its predictors: search, generate"):
        read_subject(Two())


def from_program(predictor: str = "generate", rows: list[Any] | None = None, program: Any = None) -> Recipe:
    rows = [{"question": "q", "answer": "a"}] if rows is None else rows
    return Recipe.from_program(program or Two(), predictor=predictor, examples=rows, metric=exact_match("answer"))


def test_a_program_s_predictor_keeps_its_fields() -> None:
    subject = read_subject(from_program().signature)
    assert list(subject.signature.fields) == ["passage", "question", "reasoning", "answer"]
    assert (
        subject.program and subject.program.predictor == "generate.predict" and subject.program.inputs == ("question",)
    )
    assert subject.program.calls_per_row == 2


def test_a_misspelt_predictor_is_named_beside_the_nearest() -> None:
    with pytest.raises(UserError) as caught:
        from_program("genrate")
    assert str(caught.value).split("\n") == [
        "The program Two has no predictor genrate.",
        "Did you mean generate? There is search, generate.",
        "Name one of them: Recipe.from_program(program, predictor='search', …)",
    ]


def test_what_is_no_program_and_rows_without_inputs_are_refused() -> None:
    with pytest.raises(UserError, match=r"was given str, which is no dspy\.Module"):
        from_program(program="question -> answer")
    with pytest.raises(UserError, match="Its forward takes question; the rows have text, label"):
        from_program(rows=[{"text": "t", "label": "l"}])


def test_examples_of_dspy_say_themselves_what_is_an_input() -> None:
    row = dspy.Example(question="q", answer="a").with_inputs("question")
    recipe = from_program(rows=[row])
    assert recipe.signature.inputs == ("question",) and dict(recipe.examples[0]) == {"question": "q", "answer": "a"}
