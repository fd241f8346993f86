"""A whole search, its gate and its teacher's part at servers that refuse what the real providers refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from distill.teach.teacher import TeacherAnswer
from optimizer import SearchSettings, optimize
from optimizer.run.regression import check_regression
from optimizer.run.result import RunResult
from promptstill.dialect import Dialect
from promptstill.engine.source import ModelSource
from promptstill.prompt.prompt import Prompt
from promptstill.task.open import open_task
from tests.support.answers import teacher_answers
from tests.support.codes import RECIPE, knows_with_demos
from tests.support.fake import FakeEndpoint
from tests.support.providers import base, openai, others

NONE: dict[str, Any] = {}
THINKS = {"thinking_tokens": 2048}


@dataclass(frozen=True)
class Provider:
    """A server, what its prompts' dialect must be, and whether `raw` is left out there."""

    make: Callable[..., FakeEndpoint]
    dialect: dict[str, Any]
    raw: bool = False

    @property
    def name(self) -> str:
        return self.make.__name__


PROVIDERS = (
    Provider(FakeEndpoint, NONE, raw=True),  # vLLM
    Provider(openai.OpenAIChat, NONE),
    Provider(openai.OpenAIReasoning, {"limit": "max_completion_tokens", "temperature": False, **THINKS}),
    Provider(others.Mistral, NONE),
    Provider(others.Ollama, NONE),
    Provider(others.LMStudio, NONE),
    Provider(others.StrippingGateway, NONE, raw=True),  # without counts nobody can tell that it ignores chat_template
    Provider(others.ThinkingVLLM, THINKS, raw=True),
    Provider(others.OlderThinkingVLLM, THINKS, raw=True),
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
    decoding = best["prompt"]["decoding"]
    assert Dialect(**decoding["dialect"]) == Dialect(**provider.dialect)
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
        sent = [body for body in fake.bodies if body.get("max_tokens", 0) > base.WORDS_OF_THOUGHT]
    assert sent and all(body["max_tokens"] > 2048 and "stop" not in body for body in sent)
    rows = (result.run.path / "calls.db").read_bytes()
    assert b"hm hm hm" in rows
    assert "hm hm" not in result.run.test_path.read_text()
