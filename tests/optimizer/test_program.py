"""A predictor of a DSPy program, and a predictor in place of a signature, searched by the command itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distill.plan import plan_distillation
from distill.settings import DistillSettings
from promptstill import Prompt, UserError
from promptstill.task.load import load_recipe
from tests.optimizer.program import PROGRAM, triage
from tests.support.codes import best, run
from tests.support.fake import Body, FakeEndpoint

PREDICTOR = """
import dspy
from promptstill import Recipe, exact_match, recipe

@recipe
def codes() -> Recipe:
    predictor = dspy.Predict("word -> code")
    predictor.demos = [dspy.Example(word=f"own{i} even", code="c0").with_inputs("word") for i in range(3)]
    rows = [{"word": f"w{i} {'even' if i % 2 == 0 else 'odd'}", "code": f"c{i % 2}"} for i in range(60)]
    return Recipe(signature=predictor, examples=rows, metric=exact_match("code"), model="fake", split=(20, 20, 20))
"""
Searched = tuple[Path, FakeEndpoint, subprocess.CompletedProcess[str]]
FEW = ("--trials", "4", "--proposals", "0")


def asked_words(body: Body) -> set[str]:
    """The program's inputs in a request: they alone are in capitals."""
    return set(re.findall(r"W\d+ [A-Z]+", str(body["messages"])))


def command(fake: FakeEndpoint, *extra: str) -> list[str]:
    return [sys.executable, "-m", "optimizer", "triage.py", "--base-url", fake.base_url, *FEW, *extra]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    """A folder in which the program's predictor was searched, and what the endpoint saw."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "triage.py").write_text(PROGRAM)
    with FakeEndpoint(triage) as fake:
        done = run(command(fake), folder)
        assert done.returncode == 0, done.stderr
        yield folder, fake, done


def test_a_program_s_predictor_is_searched_and_the_gain_is_the_program_s(searched: Searched) -> None:
    folder, fake, done = searched
    made = best(folder)
    test = made["scores"]["test"]
    assert made["shipped"] == "winner" and test["gains"]["over_baseline"]["low"] > 0
    assert test["winner"]["score"]["n"] == 40 and test["baseline"]["score"] == test["dspy"]["score"]
    assert set(fake.calls.values()) == {1}, "nothing is paid twice"
    prompt = Prompt.load(folder / "best.json")
    assert prompt.layout == "dspy-chat" and prompt.nearest is None and prompt.decoding.structured is None
    assert [field.name for field in (*prompt.inputs, *prompt.outputs)] == ["plain", "code"]
    assert made["example"].keys() == {"plain"} and "could not be drawn" not in done.stderr
    assert "distill" not in done.stdout and "put it back  recipe.program_with(Prompt.load(" in done.stdout


def test_no_test_row_is_asked_before_the_end(searched: Searched) -> None:
    folder, fake, _ = searched
    (path,) = (folder / "runs").iterdir()
    words = {json.loads(line)["inputs"]["word"] for line in (path / "test.jsonl").read_text().splitlines()}
    assert len(words) == 40
    first = next(n for n, body in enumerate(fake.bodies) if words & asked_words(body))
    cleaned = {word for body in fake.bodies[:first] for word in asked_words(body)}
    assert len(cleaned) == 80, "train and dev were all asked before the first row of test"
    text = (folder / "best.json").read_text().lower()
    assert not any(f"{word.lower()}\\n" in text for word in words), "no row of test stands in the prompt"


def test_the_winner_goes_back_into_the_program_and_is_saved(searched: Searched) -> None:
    folder, _, _ = searched
    recipe = load_recipe(str(folder / "triage.py"), {}).recipe
    prompt = Prompt.load(folder / "best.json")
    recipe.program_with(prompt).save(folder / "program.json")
    loaded: Any = load_recipe(str(folder / "triage.py"), {}).recipe.signature.module
    loaded.load(folder / "program.json")
    assert [dict(demo) for demo in loaded.code.demos] == [dict(demo) for demo in prompt.to_dspy().demos] != []
    import dspy

    sent = dspy.ChatAdapter().format(loaded.code.signature, loaded.code.demos, {"plain": "w1 odd"})
    assert sent == prompt.messages({"plain": "w1 odd"})


def test_a_finished_search_resumes_without_a_call(searched: Searched) -> None:
    folder, fake, _ = searched
    (path,) = (folder / "runs").iterdir()
    requests = fake.requests
    again = run([sys.executable, "-m", "optimizer", "--resume", str(path), "-o", "again.json"], folder)
    assert again.returncode == 0, again.stderr
    assert fake.requests == requests and json.loads((folder / "again.json").read_text())["id"] == best(folder)["id"]


def test_distill_refuses_a_program(searched: Searched) -> None:
    folder, _, _ = searched
    settings = DistillSettings(from_prompt=str(folder / "best.json"), recipe=str(folder / "triage.py"))
    with pytest.raises(UserError, match="is of the program Triage"):
        plan_distillation(settings, print)


def test_a_misspelt_predictor_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "triage.py").write_text(PROGRAM)
    argv = [sys.executable, "-m", "optimizer", "triage.py", "-p", "predictor=cod", "--check"]
    done = run(argv, tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "The program Triage has no predictor cod.\nDid you mean code? There is clean, code, tell." in done.stderr


def test_a_predictor_s_own_demos_are_the_baseline(tmp_path: Path) -> None:
    (tmp_path / "triage.py").write_text(PREDICTOR)
    with FakeEndpoint(lambda body: "[[ ## code ## ]]\nc0") as fake:
        done = run(command(fake), tmp_path)
    assert done.returncode == 0, done.stderr
    made = best(tmp_path)
    assert made["shipped"] == "baseline"
    prompt = Prompt.load(tmp_path / "best.json")
    assert prompt.layout == "dspy-chat" and [demo["word"] for demo in prompt.to_dspy().demos] == [
        f"own{i} even" for i in range(3)
    ]
