"""program.json of a compiled DSPy program, read as the prompt that DSPy sends for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.adapters import ChatAdapter

from promptstill import UserError
from promptstill.prompt.layouts.task import Task
from promptstill.task.compiled import read_compiled

TASK = Task(dspy.Signature("place, item_no -> code", "Say it."), "m", 16)
INPUTS = {"place": "shelf", "item_no": "7"}


def compiled(kind: Any) -> Any:
    """A predictor as DSPy's optimizers leave it: another instruction, and demos, one of them with what it lacks."""
    module = kind(TASK.signature)
    (predictor,) = module.predictors()
    predictor.signature = predictor.signature.with_instructions("Look it up, then say it.")
    reasoned = {"reasoning": "The shelf has it."} if kind is dspy.ChainOfThought else {}
    predictor.demos = [
        dspy.Example(place="a", item_no="1", code="c1", augmented=True, **reasoned),
        dspy.Example(place="b", item_no="2", code="c2"),
    ]
    return module


class Pair(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = dspy.Predict("a -> b"), compiled(dspy.ChainOfThought)


@pytest.mark.parametrize("kind", [dspy.Predict, dspy.ChainOfThought])
def test_the_prompt_is_what_dspy_sends(kind: Any, tmp_path: Path) -> None:
    module = compiled(kind)
    (predictor,) = module.predictors()
    module.save(tmp_path / "program.json")
    sent = ChatAdapter().format(predictor.signature, predictor.demos, INPUTS)
    prompt = read_compiled(tmp_path / "program.json", TASK)
    assert prompt.messages(INPUTS) == sent and prompt.layout == "dspy-chat" and prompt.decoding.structured is None


def test_of_several_predictors_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "program.json"
    Pair().save(path)
    assert read_compiled(path, TASK, "second").instruction == "Look it up, then say it."
    with pytest.raises(UserError, match="They are first, second"):
        read_compiled(path, TASK)
    with pytest.raises(UserError, match=r"has no predictor secnd\.\nDid you mean second"):
        read_compiled(path, TASK, "secnd")
    with pytest.raises(UserError, match=r"first of .* is of another signature\.\nIts fields are A: B:"):
        read_compiled(path, TASK, "first")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "holds no predictor"),
        ('{"metadata": {}}', "holds no predictor"),
        ('{"self": {"signature": 7, "demos": []}}', "is not what DSPy saves"),
        ('{"signature": {"instructions": "x", "fields": []}, "demos": [7]}', "is not what DSPy saves"),
        ('{"signature": {"instructions": "x", "fields": []}, "demos": []}', "is of another signature"),
    ],
)
def test_a_bad_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "program.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_compiled(path, TASK)


def test_a_missing_file_and_a_pickle_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_compiled(tmp_path / "program.json", TASK)
    (tmp_path / "program.pkl").write_bytes(b"x")
    with pytest.raises(UserError, match="A pickled program runs code"):
        read_compiled(tmp_path / "program.pkl", TASK)
