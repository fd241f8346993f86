"""What a search would cost, told without asking anything."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner

from optimizer import SearchSettings, optimize
from optimizer.cli import optimize as command
from optimizer.command.plan import plan_search
from promptstill.endpoint.allowance import Limits
from tests.support.codes import RECIPE, knows_with_demos
from tests.support.fake import FakeEndpoint
from tests.support.loopback import loopback_only


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "codes.py"
    path.write_text(RECIPE)
    return path


def plan_text(*words: str) -> str:
    with loopback_only(), patch.dict(os.environ, {"ANTHROPIC_API_KEY": ""}):
        done = CliRunner().invoke(command, [*words, "--plan"], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_a_plan_on_a_provider_has_its_price_and_needs_no_key(recipe: Path, tmp_path: Path) -> None:
    text = plan_text(str(recipe), "--model", "anthropic/claude-haiku-4-5", "--runs", str(tmp_path), "--max-usd", "0.5")
    assert "1 USD a million prompt tokens and 5 a million of replies (LiteLLM's table)" in text
    assert "not known: no run of anthropic/claude-haiku-4-5" in text
    assert "--max-usd 0.5 ends it earlier" in text


def test_a_plan_is_no_less_than_what_the_search_then_takes(recipe: Path, tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        settings = SearchSettings(recipe=str(recipe), base_url=fake.base_url, trials=8, proposals=1)
        plan = plan_search(settings, settings.open_task())
        assert fake.requests == 0
        result = optimize(settings, runs=tmp_path / "runs", output=None)
    spent = (result.best or {})["search"]["spent"]["total"]
    assert spent["calls"] <= plan.calls
    per_call = spent["prompt_tokens"] / spent["calls"]
    assert per_call / 3 < plan.prompt_tokens < per_call * 3


def test_the_pace_is_that_of_the_newest_run_of_the_model(recipe: Path, tmp_path: Path) -> None:
    made = {"a": ("fake", "2026-01", 1), "b": ("fake", "2026-02", 2), "c": ("other", "2026-03", 9)}
    for name, (model, date, seconds) in made.items():
        spent = {"total": {"calls": 10, "prompt_tokens": 900, "completion_tokens": 100}}
        best = {"model": {"name": model}, "created_at": date, "search": {"seconds": seconds, "spent": spent}}
        (tmp_path / name).mkdir()
        (tmp_path / name / "best.json").write_text(json.dumps(best))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "best.json").write_text("{")
    text = plan_text(str(recipe), "--model", "fake", "--base-url", "http://127.0.0.1:9/v1", "--runs", str(tmp_path))
    assert f"at 500 tokens a second as in {tmp_path / 'b'}" in text
    assert "the task's price is not known: give --price" in text


def test_folds_count_their_searches(recipe: Path) -> None:
    usual = SearchSettings(recipe=str(recipe), trials=8, folds=0, limits=Limits())
    once, fourfold = (
        plan_search(one, one.open_task()) for one in (usual, SearchSettings(recipe=str(recipe), trials=8, folds=4))
    )
    assert fourfold.calls > 3 * once.calls
