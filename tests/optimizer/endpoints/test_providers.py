"""A whole search, its gate and its teacher's part at servers that refuse what the real providers refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from distill.teach.teacher import TeacherAnswer
from optimizer import SearchSettings, optimize
from optimizer.run.regression import check_regression
from optimizer.run.result import RunResult
from optimizer.search.space import Space
from promptstill.dialect import Dialect
from promptstill.engine.source import ModelSource
from promptstill.prompt.prompt import Prompt
from promptstill.task.open import open_task
from tests.support.answers import teacher_answers
from tests.support.codes import RECIPE, knows_with_demos
from tests.support.fake import Body, FakeEndpoint
from tests.support.providers import base, openai, others

NONE: dict[str, Any] = {}
WAYS = ("off", "model", "short")
THINKS = {"thinking_tokens": 2048}
OFF = {"enable_thinking": False}
OPENAI = {"limit": "max_completion_tokens", "temperature": False, **THINKS}


@dataclass(frozen=True)
class Provider:
    """A server, the dialect of its model, and whether it takes `raw`. told: the dialects in which it is told how much
    to think."""

    make: Callable[..., FakeEndpoint]
    dialect: dict[str, Any]
    raw: bool = False
    told: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.make.__name__


PROVIDERS = (
    Provider(FakeEndpoint, NONE, raw=True),  # vLLM
    Provider(openai.OpenAIChat, NONE),
    Provider(
        openai.OpenAIReasoning,
        OPENAI,
        told={
            "short": OPENAI | {"reasoning_effort": "minimal"},
            "long": OPENAI | {"reasoning_effort": "high", "thinking_tokens": 8192},
        },
    ),
    Provider(
        openai.OpenAIWithoutThinking,
        OPENAI,
        told={
            "off": {"limit": "max_completion_tokens", "stop": False, "reasoning_effort": "none"},
            "short": OPENAI | {"reasoning_effort": "low"},
            "long": OPENAI | {"reasoning_effort": "high", "thinking_tokens": 8192},
        },
    ),
    Provider(others.Mistral, NONE),
    Provider(others.Ollama, NONE),
    Provider(others.LMStudio, NONE),
    Provider(others.StrippingGateway, NONE, raw=True),  # without counts nobody can tell that it ignores chat_template
    Provider(
        others.ThinkingVLLM,
        THINKS | {"thinking_token_budget": 2048},
        raw=True,
        told={"off": OFF, "short": THINKS | {"thinking_token_budget": 16}},
    ),
    Provider(others.OlderThinkingVLLM, THINKS, raw=True, told={"off": OFF}),
    Provider(others.InlineThinking, THINKS),
    Provider(others.TemplatedThinking, THINKS),
    Provider(others.Magistral, THINKS),
)


@pytest.mark.parametrize("provider", PROVIDERS, ids=[provider.name for provider in PROVIDERS])
def test_a_search_ends_well_at_every_provider(provider: Provider, tmp_path: Path) -> None:
    recipe, output = tmp_path / "codes.py", tmp_path / "best.json"
    recipe.write_text(RECIPE)
    with provider.make(knows_with_demos) as fake:
        settings = SearchSettings(recipe=str(recipe), base_url=fake.base_url, trials=8, proposals=1, rivals=False)
        result = optimize(settings, runs=tmp_path / "runs", output=output)
        probes = calls_of(result, "probe")
        gated = check_regression(output, None, {}, None, ModelSource(fake.base_url), 0.02, lambda line: None)
        answers = teach(fake, Prompt.load(output), recipe, tmp_path)
    best = result.best or {}
    test = best["scores"]["test"]
    assert best["shipped"] == "winner" and test["winner"]["score"]["mean"] >= 0.5
    assert test["winner"]["parse_failures"] == 0
    assert not gated.failed
    space = Space.from_json(json.loads(result.run.pools_path.read_text()))
    assert space.dialect.in_prompt == Dialect(**provider.dialect)
    assert {name: one.in_prompt for name, one in space.thinking.items()} == {
        name: Dialect(**one) for name, one in provider.told.items()
    }
    sent = Dialect(**best["prompt"]["decoding"]["dialect"])
    assert sent == space.dialect_of(best["search"]["winner"]["reasoning"]).in_prompt
    assert ("raw" in layouts(result)) == provider.raw
    assert probes <= 18, "what an endpoint takes is found out with few calls"
    asked = [answer for answer in answers if answer.text]
    assert len(asked) >= 10 and not any(answer.reason for answer in asked), "the teacher's answers are all read"


def calls_of(result: RunResult, role: str) -> int:
    return int((result.best or {})["search"]["spent"]["roles"][role]["calls"])


def layouts(result: RunResult) -> set[str]:
    """The layouts that raced."""
    return {json.loads(line)["candidate"]["layout"] for line in result.run.trials_path.read_text().splitlines()}


def teach(fake: FakeEndpoint, prompt: Prompt, recipe: Path, folder: Path) -> list[TeacherAnswer]:
    rows = open_task(str(recipe)).splits.train[:10]
    answers, _ = teacher_answers(fake.base_url, prompt, rows, folder, k=1)
    return answers


def test_a_models_thoughts_are_kept_beside_its_answer(tmp_path: Path) -> None:
    recipe = tmp_path / "codes.py"
    recipe.write_text(RECIPE)
    with others.ThinkingVLLM(knows_with_demos) as fake:
        settings = SearchSettings(recipe=str(recipe), base_url=fake.base_url, trials=4, proposals=0, rivals=False)
        result = optimize(settings, runs=tmp_path / "runs", output=None)
        sent = [body for body in fake.bodies if body.get("max_tokens", 0) > base.WORDS_OF_THOUGHT and thinks(body)]
    assert sent and all(body["max_tokens"] > 2048 and "stop" not in body for body in sent)
    rows = (result.run.path / "calls.db").read_bytes()
    assert b"hm hm hm" in rows
    assert "hm hm" not in result.run.test_path.read_text()


def thinks(body: Body) -> bool:
    return "chat_template_kwargs" not in body


def better_without(body: Body) -> str:
    return "c9" if thinks(body) else knows_with_demos(body)


def test_a_search_races_thinking_off_against_on_and_ships_the_better(tmp_path: Path) -> None:
    recipe, output = tmp_path / "codes.py", tmp_path / "best.json"
    recipe.write_text(RECIPE)
    with others.ThinkingVLLM(better_without) as fake:
        settings = SearchSettings(recipe=str(recipe), base_url=fake.base_url, trials=8, proposals=0, rivals=False)
        result = optimize(settings, runs=tmp_path / "runs", output=output)
        off = [body for body in fake.bodies if not thinks(body) and "stop" in body]
    assert off and all(body["max_tokens"] <= 2048 for body in off)
    trials = [json.loads(line) for line in result.run.trials_path.read_text().splitlines()]
    tokens = {one: [t["completion_tokens"] for t in trials if t["candidate"]["reasoning"] == one] for one in WAYS}
    assert max(tokens["off"]) + base.WORDS_OF_THOUGHT / 2 < min(tokens["model"]), "thoughts count in a prompt's cost"
    assert max(tokens["short"]) < min(tokens["model"])
    best = json.loads(output.read_text())
    assert best["shipped"] == "winner" and best["search"]["winner"]["reasoning"] == "off"
    assert best["prompt"]["decoding"]["dialect"]["enable_thinking"] is False
    asked = Prompt.load(output).request({"word": "w1 odd"})
    assert asked["chat_template_kwargs"] == {"enable_thinking": False}
