"""A whole search, its gate and its teacher's part at providers with APIs of their own, through LiteLLM."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from aiohttp import web
from click.testing import CliRunner

from distill.plan import plan_distillation, teacher_name
from distill.settings import DistillSettings
from optimizer import SearchSettings, optimize
from optimizer.cli import optimize as command
from optimizer.measure.measure import measure
from optimizer.measure.settings import MeasureSettings
from optimizer.run.regression import check_regression
from promptstill.dialect import Dialect
from promptstill.endpoint.allowance import Limits
from promptstill.engine.source import ModelSource
from promptstill.errors import UserError
from promptstill.prompt.prompt import Prompt
from promptstill.task.open import open_task
from tests.support.answers import teacher_answers
from tests.support.codes import RECIPE, knows_with_demos
from tests.support.fake import FakeEndpoint
from tests.support.loopback import loopback_only
from tests.support.providers.hosted import HOSTED, Azure, Claude, Gemini, HostedEndpoint, NewerClaude

DIALECTS: dict[type[HostedEndpoint], dict[str, Any]] = {
    Claude: {"stop": False},
    NewerClaude: {"stop": False, "temperature": False},
    Gemini: {"thinking_tokens": 2048},
    Azure: {},
}


@contextmanager
def served(make: type[HostedEndpoint], **changes: str) -> Iterator[HostedEndpoint]:
    """The provider's server, and the environment by which LiteLLM finds it and nobody else."""
    with make(knows_with_demos) as server, loopback_only():
        names = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "AZURE_API_KEY")
        kept = {name: value for name, value in os.environ.items() if name not in names}
        with patch.dict(os.environ, kept | server.environment | changes, clear=True):
            yield server


def settings_for(server: HostedEndpoint, recipe: Path, **changes: Any) -> SearchSettings:
    recipe.write_text(RECIPE)
    usual: dict[str, Any] = {"trials": 8, "proposals": 1, "rivals": False, "dspy": False}
    return SearchSettings(recipe=str(recipe), model=server.name, **usual | changes)


@pytest.mark.parametrize("make", HOSTED, ids=[make.__name__ for make in HOSTED])
def test_a_search_ends_well_at_every_provider(make: type[HostedEndpoint], tmp_path: Path) -> None:
    recipe, output = tmp_path / "codes.py", tmp_path / "best.json"
    with served(make) as server:
        result = optimize(settings_for(server, recipe), runs=tmp_path / "runs", output=output)
        gated = check_regression(output, None, {}, None, ModelSource(), 0.02, lambda line: None)
        prompt = Prompt.load(output)
        rows = open_task(str(recipe)).splits.train[:10]
        answers, _ = teacher_answers(
            ModelSource().of_model(server.name).endpoint("weights"), prompt, rows, tmp_path, k=1
        )
    best = result.best or {}
    test = best["scores"]["test"]
    assert best["shipped"] == "winner" and test["winner"]["score"]["mean"] >= 0.5
    assert test["winner"]["parse_failures"] == 0
    assert not gated.failed
    assert Dialect(**prompt.decoding.dialect.model_dump()) == Dialect(**DIALECTS[make])
    assert prompt.model == server.name and best["model"]["sha256"] is None
    assert best["search"]["spent"]["roles"]["probe"]["calls"] <= 18
    asked = [answer for answer in answers if answer.text]
    assert len(asked) >= 10 and not any(answer.reason for answer in asked), "the teacher's answers are all read"


def test_a_run_knows_the_price_of_a_model_in_the_table(tmp_path: Path) -> None:
    with served(Claude) as server:
        settings = settings_for(server, tmp_path / "codes.py", limits=Limits(usd=0.02))
        result = optimize(settings, runs=tmp_path / "runs", output=None)
    assert result.run.settings().limits.price == (1.0, 5.0)
    spent = (result.best or {})["search"]["spent"]
    assert 0.01 < spent["usd"] <= 0.02 + settings.window * spent["usd"] / spent["total"]["calls"]


def test_a_deployment_needs_a_price_where_money_is_limited(tmp_path: Path) -> None:
    with served(Azure) as server:
        settings = settings_for(server, tmp_path / "codes.py", limits=Limits(usd=1.0))
        with pytest.raises(UserError, match="price of azure/our-deployment") as raised:
            optimize(settings, runs=tmp_path / "runs", output=None)
    assert "--price" in str(raised.value.do)
    assert server.requests == 0


@pytest.mark.parametrize("make", HOSTED, ids=[make.__name__ for make in HOSTED])
def test_a_refused_key_ends_the_run_at_once(make: type[HostedEndpoint], tmp_path: Path) -> None:
    with served(make) as server:
        key = next(name for name in server.environment if name.endswith("_KEY"))
        with (
            patch.dict(os.environ, {key: "expired-key"}),
            pytest.raises(UserError, match="refused the API key") as raised,
        ):
            optimize(settings_for(server, tmp_path / "codes.py"), runs=tmp_path / "runs", output=None)
    assert key in raised.value.do
    assert "expired-key" not in str(raised.value) and f"${key}" in raised.value.why, "the server repeats the key"


def test_a_missing_key_is_found_before_anything_is_asked(tmp_path: Path) -> None:
    with served(Claude) as server:
        del os.environ["ANTHROPIC_API_KEY"]
        with pytest.raises(UserError, match="no key for anthropic/claude-haiku-4-5") as raised:
            optimize(settings_for(server, tmp_path / "codes.py"), runs=tmp_path / "runs", output=None)
    assert "ANTHROPIC_API_KEY" in str(raised.value.why)
    assert server.requests == 0


def test_an_account_without_money_is_said_so(tmp_path: Path) -> None:
    with served(Claude) as server:
        server.misbehave = lambda number: 400
        server.failure = ({"message": "Your credit balance is too low to access the Anthropic API."}, {})
        with pytest.raises(UserError, match="no money or quota"):
            optimize(settings_for(server, tmp_path / "codes.py"), runs=tmp_path / "runs", output=None)


def test_a_provider_proposes_for_a_model_elsewhere(tmp_path: Path) -> None:
    recipe = tmp_path / "codes.py"
    recipe.write_text(RECIPE)
    with FakeEndpoint(knows_with_demos) as fake, served(Claude, OPENAI_API_KEY="none") as server:
        settings = SearchSettings(
            recipe=str(recipe), base_url=fake.base_url, proposer=server.name, proposals=2, trials=12, dspy=False
        )
        result = optimize(settings, runs=tmp_path / "runs", output=None)
    spent = (result.best or {})["search"]["spent"]
    assert server.requests and spent["roles"]["proposer"]["calls"]
    assert spent["usd"] == pytest.approx(spent["usd_by_role"]["proposer"]) and spent["usd"] > 0


def test_a_bare_proposer_is_the_tasks_endpoints_where_that_lists_it(tmp_path: Path) -> None:
    recipe = tmp_path / "codes.py"
    recipe.write_text(RECIPE)

    class Gateway(FakeEndpoint):
        """Lists two models under the names that providers have."""

        async def _models(self, request: web.Request) -> web.Response:
            return web.json_response({"data": [{"id": "fake"}, {"id": Claude.name}]})

    with Gateway(knows_with_demos) as fake, served(Claude) as server:
        usual: dict[str, Any] = {"proposals": 1, "trials": 12, "dspy": False, "rivals": False}
        settings = SearchSettings(recipe=str(recipe), base_url=fake.base_url, proposer=Claude.name, **usual)
        optimize(settings, runs=tmp_path / "runs", output=None)
    assert server.requests == 0
    assert any(body["model"] == Claude.name for body in fake.bodies)


def test_two_models_are_planned_by_neither_a_search_nor_a_call(tmp_path: Path) -> None:
    recipe = tmp_path / "codes.py"
    recipe.write_text(RECIPE)
    with served(Claude) as server:
        done = CliRunner().invoke(command, [str(recipe), "--model", Claude.name, "--model", Gemini.name, "--plan"])
        both = CliRunner().invoke(command, [str(recipe), "--measure", "--plan"])
    assert isinstance(done.exception, UserError) and "one --model" in str(done.exception.what)
    assert isinstance(both.exception, UserError) and "do not go together" in str(both.exception.what)
    assert server.requests == 0


def test_a_measurement_knows_the_price_too(tmp_path: Path) -> None:
    recipe = tmp_path / "codes.py"
    recipe.write_text(RECIPE)
    with served(Claude) as server:
        (tmp_path / "mine.md").write_text("Say the code of the word {{word}}, nothing else.")
        files, models = (str(tmp_path / "mine.md"),), (server.name,)
        found = measure(
            MeasureSettings(recipe=str(recipe), files=files, models=models, rivals=False), tmp_path / "runs"
        )
    assert found.allowance.usd > 0


def test_distill_asks_a_prompts_provider_and_knows_its_price(tmp_path: Path) -> None:
    recipe, output = tmp_path / "codes.py", tmp_path / "best.json"
    with served(Claude) as server:
        optimize(settings_for(server, recipe, trials=4), runs=tmp_path / "runs", output=output)
        settings = DistillSettings(from_prompt=str(output), student="smollm2-135m")
        settings = settings.at_provider(teacher_name(settings))
        plan = plan_distillation(settings, lambda line: None)
    assert plan.teacher_model.name == server.name and plan.teacher_model.sha256 is None
    assert settings.teacher_source.base_url == "litellm://anthropic" and settings.asks_best_there
    assert settings.limits.price == (1.0, 5.0)
