"""What a distillation may spend: its limits, its forecast, and the money that it tells."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill import distill
from distill.budget import forecast_lines, teacher_calls
from distill.cli import distill as command
from distill.cli import to_settings
from distill.folder import DistilledFolder
from distill.pipeline import Steps
from distill.plan import plan_distillation
from distill.settings import DistillSettings
from promptstill import Judge
from promptstill.endpoint.allowance import LimitReached, Limits
from promptstill.engine.source import ModelSource
from promptstill.errors import UserError
from promptstill.events import Event, Message, silent
from tests.distill.test_cli import run_distill
from tests.support.fake import FakeEndpoint
from tests.support.feel import call_it_hot

ROWS, TEST, DEV = 60, 30, 24
SCORE = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": TEST}


def never_right(body: dict[str, Any]) -> str:
    return " warm"


def test_a_limit_ends_the_asking_and_a_resume_goes_on_with_a_higher_one(settings: DistillSettings) -> None:
    said: list[str] = []

    def listener(event: Event) -> None:
        said.extend([event.text] if isinstance(event, Message) else [])

    with FakeEndpoint(never_right, model="tiny") as fake:
        limits = Limits(calls=TEST + DEV + 50)
        settings = replace(settings, source=ModelSource(fake.base_url, window=4), k=1, limits=limits)
        with pytest.raises(LimitReached):
            distill(settings, output="new", listener=listener)
        assert fake.requests == 50, "what test will take is set aside"
        assert said[-2] == "--max-calls 104 is reached: what was answered is stored"
        assert said[-1].endswith("distill --resume new --max-calls 208")
        done = run_distill(Path(), "--resume", "new", "--max-calls", "114")
        assert done.returncode == 0 and fake.requests == 60
        assert "--max-calls 114 is reached" in done.stderr and "--max-calls 228" in done.stderr
        with pytest.raises(UserError, match="No training row survives"):
            distill(replace(settings, limits=Limits(calls=1000)), resume="new", listener=listener)
        assert fake.requests == 2 * ROWS, "no stored call is repeated"
        with pytest.raises(UserError, match="only its limits may change"):
            distill(replace(settings, k=2), resume="new")
    assert f"forecast: at most {2 * ROWS} calls to the teacher and {TEST + DEV} for the prompt to beat" in said
    assert any(line.startswith("by the first 20 answers, the rest takes about ") for line in said)
    assert DistilledFolder.open(Path("new"))[1].limits == Limits(calls=1000), "a later resume has the last ones"


def test_a_judge_is_stopped_by_the_limit_of_money_and_told_by_role(
    settings: DistillSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTSTILL_CACHE", str(tmp_path / "cache"))
    said: list[str] = []

    def listener(event: Event) -> None:
        said.extend([event.text] if isinstance(event, Message) else [])

    with FakeEndpoint(call_it_hot, model="tiny") as teacher, FakeEndpoint(lambda body: "Score: 0") as other:
        judge = Judge(other.base_url, other.model)

        def mark(example: Any, prediction: Any) -> float:
            return judge.mark(f"Is {example.thing} {prediction.feel}?")

        mark.judge = True  # type: ignore[attr-defined]  # functions may have attributes; their type has none
        limits = Limits(usd=1.0, price=(1.0, 1.0), role_prices={"judge": (2_000.0, 2_000.0)})
        settings = replace(settings, source=ModelSource(teacher.base_url), k=0, limits=limits)
        plan = plan_distillation(settings, print).with_metric(mark)
        folder = DistilledFolder.create(Path("distilled"), settings)
        with pytest.raises(LimitReached):
            Steps(plan, settings, folder, listener).run()
        marked = other.requests
        spent = folder.read_step("spent")
        assert 0 < marked < ROWS and spent["roles"]["judge"]["calls"] == marked
        dearest = spent["usd_by_role"]["judge"] / marked * 1.2
        with_test = (ROWS + TEST + DEV) / ROWS * spent["usd"]
        assert 1.0 - dearest < with_test < 1.0 + 2 * dearest, "it is asked one question at a time"
        more = replace(settings, limits=replace(limits, usd=100.0))
        with pytest.raises(UserError, match="No training row survives"):
            Steps(plan, more, folder, silent).run()
        judge.close()
    assert other.requests == ROWS and folder.read_step("spent")["roles"]["judge"]["calls"] == ROWS
    assert "USD in all (judge " in said[-1] and "teacher " in said[-1]


def test_the_forecast_has_the_tokens_and_the_money_that_best_json_measured(settings: DistillSettings) -> None:
    path = Path("best.json")
    best = json.loads(path.read_text())
    best["scores"]["test"] = {"winner": {"score": SCORE, "prompt_tokens": 100.0, "completion_tokens": 2.0}}
    path.write_text(json.dumps(best))
    settings = replace(settings, limits=Limits(calls=200, price=(1.0, 5.0)))
    plan = plan_distillation(settings, print)
    calls = teacher_calls(plan, settings)
    assert calls == 5 * ROWS
    assert list(forecast_lines(plan, settings, calls)) == [
        "forecast: at most 300 calls to the teacher, some 30,600 tokens, 0.03 USD by what best.json measured on test",
        "--max-calls 200 may end it before; then --resume goes on with a higher limit",
    ]
    assert next(forecast_lines(plan, settings, calls, 54)).startswith(
        "forecast: at most 300 calls to the teacher and 54 for the prompt to beat, some 36,108 tokens"
    )


def test_prices_of_teacher_and_judge() -> None:
    words = ["--from-prompt", "best.json", "--price", "teacher=1,2", "--price", "judge=3,4", "--max-usd", "5"]
    settings = to_settings(command.make_context("distill", words).params)
    assert settings.limits == Limits(usd=5.0, price=(1.0, 2.0), role_prices={"judge": (3.0, 4.0)})
    assert DistillSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_money_without_prices_is_refused_before_anything_is_asked(settings: DistillSettings) -> None:
    with pytest.raises(UserError, match="--max-usd needs prices"):
        distill(replace(settings, limits=Limits(usd=1.0)), output="new")
    assert not Path("new").exists()
