"""Several draws of each row, where the endpoint's replies are samples: scores are means, and no draw is asked twice."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from optimizer import SearchSettings, optimize
from optimizer.run.regression import check_regression
from promptstill.engine.source import ModelSource
from promptstill.errors import UserError
from tests.support.codes import RECIPE, knows_with_demos
from tests.support.fake import Body
from tests.support.providers.openai import OpenAIReasoning

ROWS = 40  # of dev, and of test


def settings_for(folder: Path, url: str, recipe: str = RECIPE, draws: int = 3) -> SearchSettings:
    (folder / "codes.py").write_text(recipe)
    search = {"base_url": url, "trials": 4, "proposals": 0, "rivals": False, "race": False, "draws": draws}
    return SearchSettings(recipe=str(folder / "codes.py"), **search)  # type: ignore[arg-type]  # each of its type


def test_scores_are_means_over_draws_and_resume_repeats_none(tmp_path: Path) -> None:
    chance = random.Random(0)

    def sampled(body: Body) -> str:
        right = knows_with_demos(body)
        return right if chance.random() < 0.7 else right.replace("c0", "cx").replace("c1", "cx")

    lines: list[str] = []
    with OpenAIReasoning(sampled) as fake:
        settings = settings_for(tmp_path, fake.base_url)
        result = optimize(settings, runs=tmp_path / "runs", listener=lambda event: lines.append(str(event)))
        asked = len(fake.bodies)
        optimize(resume=result.run.path, runs=tmp_path / "runs", output=None)
        assert len(fake.bodies) == asked, "what was answered is asked no more"
        best_path = result.run.best_path
        gated = check_regression(best_path, None, {}, None, ModelSource(fake.base_url), 0.02, lambda line: None)
        assert len(fake.bodies) - asked == 3 * ROWS, "the gate draws as often as the search did"
    best = result.best or {}
    scores = best["scores"]["dev"]["shipped_rows"].values()
    thirds = {round(3 * score, 3) for score in scores}
    assert thirds <= {0.0, 1.0, 2.0, 3.0} and thirds & {1.0, 2.0}, "a row's score is a mean of three"
    assert best["search"]["draws"] == 3 and not gated.failed
    trials = [json.loads(line) for line in result.run.trials_path.read_text().splitlines()]
    assert sum(trial["rows"] for trial in trials) == 4 * ROWS
    assert any("its replies are samples" in line and "the mean of 3 is its score" in line for line in lines)


def test_a_program_and_a_metric_of_the_whole_split_are_drawn_once(tmp_path: Path) -> None:
    whole = RECIPE.replace("exact_match", "macro_f1")
    with pytest.raises(UserError, match="--draws goes not with a metric of the whole split"):
        settings_for(tmp_path, "http://127.0.0.1:9/v1", whole).open_task()
    assert settings_for(tmp_path, "http://127.0.0.1:9/v1", draws=2).open_task().test_calls == 2 * ROWS
