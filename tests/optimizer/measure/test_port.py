"""`--measure` of a prompt that was found on vLLM, at endpoints that refuse or ignore what only vLLM takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from optimizer import SearchSettings, optimize
from optimizer.measure.measure import measure
from optimizer.measure.settings import MeasureSettings
from promptstill.endpoint.allowance import Limits
from promptstill.errors import UserError
from promptstill.scoring.port import PORT_CALLS
from tests.support.codes import RECIPE
from tests.support.fake import Body, FakeEndpoint
from tests.support.providers import openai, others

CHOICE = RECIPE.replace("import dspy\n", "from typing import Literal\nimport dspy\n", 1).replace(
    "code: str =", 'code: Literal["c0", "c1"] ='
)


def knows(body: Body) -> str:
    """The right code, or the only one that a grammar allows."""
    allowed = (body.get("structured_outputs") or {}).get("choice", ["c0", "c1"])
    code = "c0" if "even" in body["messages"][-1]["content"].rpartition("w")[2] else "c1"
    return next((str(one) for one in allowed if code in one), str(allowed[0]))


@dataclass(frozen=True)
class Port:
    """A measurement at another endpoint: what was sent, the entry of measure.json, and the lines on the way."""

    bodies: list[Body]
    cell: dict[str, Any]
    calls: int
    lines: list[str]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a recipe and its best.json, which is in `raw` and allows two codes alone."""
    folder = tmp_path_factory.mktemp("found")
    (folder / "codes.py").write_text(CHOICE)
    with FakeEndpoint(knows) as fake:
        settings = SearchSettings(
            recipe=str(folder / "codes.py"), base_url=fake.base_url, trials=2, proposals=0, layouts=("raw",),
            dspy=False, rivals=False,
        )  # fmt: skip
        optimize(settings, runs=folder / "runs", output=folder / "best.json")
    prompt = json.loads((folder / "best.json").read_text())["prompt"]
    assert prompt["layout"] == "raw" and prompt["decoding"]["structured"]
    return folder


def port(fake: FakeEndpoint, found: Path, runs: Path, limits: Limits | None = None) -> Port:
    """The best.json, measured at the endpoint without rivals."""
    lines: list[str] = []
    settings = MeasureSettings(
        recipe=str(found / "codes.py"), files=(str(found / "best.json"),), models=(fake.model,), base_url=fake.base_url,
        rivals=False, limits=limits or Limits(),
    )  # fmt: skip
    made = measure(settings, runs, lambda event: lines.append(getattr(event, "text", ""))).to_json()
    return Port(fake.bodies, made["measured"][0], made["spent"]["total"]["calls"], lines)


@pytest.mark.parametrize("make", [openai.OpenAIChat, openai.OpenAIReasoning, others.Mistral, others.Ollama])
@pytest.mark.parametrize("model", ["fake", "other"])
def test_a_prompt_with_a_grammar_is_ported_to_an_endpoint_without(
    model: str, make: Callable[..., FakeEndpoint], found: Path, tmp_path: Path
) -> None:
    with make(knows, model=model) as fake:
        made = port(fake, found, tmp_path)
    score, lines = made.cell["score"], [line for line in made.lines if "is asked" in line]
    assert score["mean"] == 1.0 and score["n"] == 40 and made.cell["parse_failures"] == 0
    assert made.calls <= 40 + PORT_CALLS
    if (model, make) == ("fake", others.Ollama):
        assert not lines, "it refuses nothing that it was asked before"
        return
    (line,) = lines
    assert ("best.json was found on fake: here other" if model == "other" else "best.json: fake") in line
    assert "is asked the prompt in the layout inline for raw, without a grammar" in line


@pytest.mark.parametrize("model", ["fake", "other"])
def test_a_vllm_is_asked_the_prompt_as_it_is(model: str, found: Path, tmp_path: Path) -> None:
    with FakeEndpoint(knows, model=model) as fake:
        made = port(fake, found, tmp_path)
    lines = [line for line in made.lines if "is asked" in line]
    best = json.loads((found / "best.json").read_text())
    rows = [body for body in made.bodies if "chat_template" in body]
    assert made.cell["score"]["mean"] == 1.0 and all(body["structured_outputs"] for body in rows)
    if model == "fake":
        assert made.cell["id"] == best["id"] and made.calls == 40 and not lines
    else:
        assert lines == ["best.json was found on fake: here other is asked the prompt as it is"]


def test_finding_the_form_counts_in_max_calls(found: Path, tmp_path: Path) -> None:
    most = 40 + PORT_CALLS
    with openai.OpenAIChat(knows, model="other") as fake:
        with pytest.raises(UserError, match=f"measuring takes up to {most} calls"):
            port(fake, found, tmp_path, Limits(calls=most - 1))
        assert not fake.bodies
        assert port(fake, found, tmp_path, Limits(calls=most)).cell["score"]["n"] == 40
