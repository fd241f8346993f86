"""program.json, the state of a compiled DSPy program, measured as it stands: sent and read by DSPy itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.adapters import ChatAdapter

from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.task.load import load_recipe
from promptstill.task.open import open_task
from tests.optimizer.measured import measured, notes_of, record
from tests.optimizer.program import PROGRAM, triage
from tests.support.codes import RECIPE
from tests.support.fake import Body, FakeEndpoint

DEMOS: list[dict[str, Any]] = [
    {"word": "far even", "code": "c0"},
    {"word": "near odd", "code": "c1", "augmented": True},
]


def compiled(folder: Path, kind: Any = dspy.Predict) -> Any:
    """A predictor of the recipe as an optimizer of DSPy leaves it, saved as program.json."""
    (folder / "codes.py").write_text(RECIPE)
    module = kind(load_recipe(str(folder / "codes.py"), {}).recipe.signature)
    (predictor,) = module.predictors()
    predictor.signature = predictor.signature.with_instructions("Look it up.")
    reasoned = {"reasoning": "Known."} if kind is dspy.ChainOfThought else {}
    predictor.demos = [dspy.Example(**reasoned, **demo) for demo in DEMOS]
    module.save(folder / "program.json")
    return predictor


def looks_up(body: Body) -> str:
    """Right where the compiled instruction is sent, in DSPy's form."""
    right = "c0" if "even" in body["messages"][-1]["content"] else "c1"
    code = right if "Look it up." in body["messages"][0]["content"] else "c?"
    reasoning = "[[ ## reasoning ## ]]\nIt is so.\n\n" if "`reasoning`" in body["messages"][0]["content"] else ""
    return f"{reasoning}[[ ## code ## ]]\n{code}\n\n[[ ## completed ## ]]"


@pytest.mark.parametrize("kind", [dspy.Predict, dspy.ChainOfThought])
def test_a_compiled_predictor_sends_what_dspy_sends_and_is_compared(kind: Any, tmp_path: Path) -> None:
    predictor = compiled(tmp_path, kind)
    (tmp_path / "plain.md").write_text("{{word}}")
    with FakeEndpoint(looks_up) as fake:
        done = measured(fake, tmp_path, "plain.md", "program.json", "--price", "1,2")
    assert not done.mistake and fake.requests == 80 and set(fake.calls.values()) == {1}
    rows = open_task(str(tmp_path / "codes.py")).splits.test
    sent = [body["messages"] for body in fake.bodies if len(body["messages"]) > 1]
    wanted = [ChatAdapter().format(predictor.signature, predictor.demos, dict(row.inputs)) for row in rows]
    assert sorted(map(json.dumps, sent)) == sorted(map(json.dumps, wanted))
    assert {body["temperature"] for body in fake.bodies} == {0.0}
    plain, program = record(tmp_path)["measured"]
    assert plain["score"]["mean"] == 0.0 and program["score"]["mean"] == 1.0 and program["parse_failures"] == 0.0
    assert len(program["over_first"]["gained"]) == 40 and program["prompt_tokens"] > plain["prompt_tokens"]
    assert program["usd_per_1000"] > 0 and record(tmp_path)["winners"] == 2
    assert "program.json over plain.md: +100.0 points" in done.stdout
    (path,) = tmp_path.glob("runs/*/test.jsonl")
    assert json.loads(path.read_text().splitlines()[0])["answers"]["program.json"]["reply"].startswith('{"code":"c')


def test_dspy_s_second_try_in_json_is_paid_and_counted_with_the_row(tmp_path: Path) -> None:
    compiled(tmp_path)

    def json_only(body: Body) -> str:
        right = "c0" if "even" in body["messages"][-1]["content"] else "c1"
        return json.dumps({"code": right}) if "JSON" in body["messages"][-1]["content"] else "no"

    with FakeEndpoint(json_only) as fake:
        done = measured(fake, tmp_path, "program.json")
    (program,) = record(tmp_path)["measured"]
    assert not done.mistake and fake.requests == 1 + 80 and program["score"]["mean"] == 1.0, "one shows what is taken"
    assert program["prompt_tokens"] * 40 == pytest.approx(record(tmp_path)["spent"]["roles"]["task"]["prompt_tokens"])


def test_what_dspy_cannot_read_is_a_zero_with_its_reason(tmp_path: Path) -> None:
    compiled(tmp_path)
    with FakeEndpoint(lambda body: "no", finish=lambda body: "length") as fake:
        done = measured(fake, tmp_path, "program.json")
    (program,) = record(tmp_path)["measured"]
    assert not done.mistake and (program["score"]["mean"], program["parse_failures"], program["cut"]) == (0.0, 1.0, 1.0)
    (path,) = tmp_path.glob("runs/*/test.jsonl")
    reason = json.loads(path.read_text().splitlines()[0])["answers"]["program.json"]["reason"]
    assert reason.startswith("unparsed (cut at max_tokens): the program raised AdapterParseError")


def test_a_demo_that_is_a_test_row_is_told(tmp_path: Path) -> None:
    compiled(tmp_path)
    row = open_task(str(tmp_path / "codes.py")).splits.test[0]
    state = json.loads((tmp_path / "program.json").read_text())
    state["demos"].append({**row.inputs, **row.outputs})
    (tmp_path / "program.json").write_text(json.dumps(state))
    with FakeEndpoint(looks_up) as fake:
        told = notes_of(fake, tmp_path, "program.json")
    assert "1 of 40 test rows are demos of " in told


def test_a_limit_below_both_tries_is_refused(tmp_path: Path) -> None:
    compiled(tmp_path)
    with FakeEndpoint(looks_up) as fake:
        done = measured(fake, tmp_path, "program.json", "--max-calls", "79")
    assert fake.requests == 0 and "--max-calls 79 is too few: measuring takes up to 80 calls" in done.mistake


@pytest.mark.parametrize(
    ("saved", "told"),
    [
        (
            dspy.Predict("text -> code"),
            "of another signature.\nIts fields are Text: Code: and the recipe has Word: Code:",
        ),
        (dspy.Predict("word -> code, why"), "of another signature"),
        (None, "program.pkl is not read.\nA pickled program runs code when it is read."),
    ],
)
def test_another_program_is_refused_before_it_costs(saved: Any, told: str, tmp_path: Path) -> None:
    (tmp_path / "program.pkl").write_bytes(b"x")
    name = "program.json" if saved else "program.pkl"
    if saved:
        saved.save(tmp_path / name)
    with FakeEndpoint(looks_up) as fake:
        done = measured(fake, tmp_path, name)
    assert told in done.mistake and fake.requests == 0 and not (tmp_path / "runs").exists()


def knowing_program(folder: Path) -> Any:
    """The recipe's program; its searched predictor has eight demos, by which the model is right."""
    (folder / "codes.py").write_text(PROGRAM)
    module = load_recipe(str(folder / "codes.py"), {}).recipe.signature.module
    module.code.demos = [dspy.Example(plain=f"p{n}", code=f"c{n % 2}") for n in range(8)]
    module.tell.signature = module.tell.signature.with_instructions("Tell it.")
    return module


def test_a_whole_program_and_a_prompt_in_its_predictor_s_place_are_measured(tmp_path: Path) -> None:
    module = knowing_program(tmp_path)
    module.save(tmp_path / "program.json")
    opened = open_task(str(tmp_path / "codes.py"))
    task = Task(opened.task.signature, "fake", 64, structured=False, own=opened.task.own)
    prompt = build_prompt(task, "dspy-chat", "Say the code of the word.")
    (tmp_path / "best.json").write_text(json.dumps({"schema_version": 2, "prompt": prompt.model_dump(mode="json")}))
    with FakeEndpoint(triage) as fake:
        done = measured(fake, tmp_path, "best.json", "program.json", recipe=PROGRAM)
    assert not done.mistake and set(fake.calls.values()) == {1}
    best, program = record(tmp_path)["measured"]
    assert program["score"]["mean"] > best["score"]["mean"] > 0 and program["over_first"]["low"] > 0
    told = [body for body in fake.bodies if "`told`" in body["messages"][0]["content"]]
    assert any("Tell it." in body["messages"][0]["content"] for body in told), "its other predictors are the file's"
    assert any("Tell it." not in body["messages"][0]["content"] for body in told), "a prompt leaves them as they are"


def test_a_state_of_another_program_is_refused(tmp_path: Path) -> None:
    dspy.ChainOfThought("plain -> code").save(tmp_path / "program.json")
    with FakeEndpoint(triage) as fake:
        done = measured(fake, tmp_path, "program.json", recipe=PROGRAM)
    assert fake.requests == 0 and (
        "program.json is of another program than Triage.\n"
        "Its predictors are predict; the recipe's program has clean, code, tell." in done.mistake
    )
