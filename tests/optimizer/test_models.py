"""Several `--model`: a search for each, with a best.json of its own, and their winners side by side."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from optimizer.cli import optimize
from optimizer.models import plan_searches
from optimizer.run.settings import SearchSettings
from promptstill import UserError
from tests.support.codes import RECIPE, knows_with_demos, run
from tests.support.fake import Body, FakeEndpoint

FEW = ("--trials", "4", "--proposals", "0", "--no-dspy")


def knows_less(body: Body) -> str:
    """Another model, which never knows an odd word."""
    question = str(body["messages"][-1]["content"]).rsplit("w", 1)[-1]
    return knows_with_demos(body) if "even" in question else "c?"


def command(folder: Path, *models: str) -> list[str]:
    (folder / "codes.py").write_text(RECIPE)
    named = [word for model in models for word in ("--model", model)]
    return [sys.executable, "-m", "optimizer", "codes.py", *FEW, *named]


def test_each_model_has_a_search_and_the_best_is_told(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos, model="a/one") as first, FakeEndpoint(knows_less, model="two") as second:
        done = run(command(tmp_path, f"a/one@{first.base_url}", f"two@{second.base_url}"), tmp_path)
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((tmp_path / f"best-{name}.json").read_text()) for name in ("one", "two"))
    assert (one["model"]["name"], two["model"]["name"]) == ("a/one", "two") and not (tmp_path / "best.json").exists()
    assert {body["model"] for body in first.bodies} == {"a/one"} and {body["model"] for body in second.bodies} == {
        "two"
    }
    assert "search 1 of 2, with limits of its own: a/one@" in done.stderr
    assert "test: the same 40 rows in every run" in done.stdout and (tmp_path / "compare.html").is_file()
    assert f"best on dev: best-one.json on a/one@{first.base_url}, " in done.stdout
    assert f"on test over the next, best-two.json on two@{second.base_url}: +" in done.stdout
    assert (
        "2 winners were evaluated on these test rows so far. As the best of 2, this gain over the next" in done.stdout
    )


def test_a_model_that_is_absent_is_told_before_the_first_search(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos, model="one") as fake:
        done = run(command(tmp_path, f"one@{fake.base_url}", f"tow@{fake.base_url}"), tmp_path)
    assert done.returncode == 2 and "The endpoint does not serve tow.\nIt serves one." in done.stderr
    assert fake.requests == 0 and not (tmp_path / "runs").exists()


def test_a_search_that_fails_says_which_are_done_and_which_have_not_begun(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos, model="one") as first, FakeEndpoint(model="two") as second:
        second.misbehave = lambda number: 401
        models = (f"one@{first.base_url}", f"two@{second.base_url}", f"one@{first.base_url}/")
        done = run(command(tmp_path, *models), tmp_path)
    assert done.returncode == 2 and "The endpoint refused the API key" in done.stderr
    assert f"done: one@{first.base_url}, in best-one.json\nnot begun: one@{first.base_url}/\n" in done.stderr
    assert "--compare runs/codes-" in done.stderr and "--resume runs/codes-" in done.stderr


def test_each_best_json_has_a_name_of_its_own() -> None:
    models = ("m@http://a/v1", "m@http://b/v1", "./folder/x y", "m@http://a/v1")
    planned = plan_searches(SearchSettings(recipe="r.py", base_url="http://c/v1"), models, Path("out/best.json"))
    assert [str(one.output) for one in planned] == ["out/best-m.json", "out/best-m-2.json", "out/best-x-y.json"]
    assert [one.settings.base_url for one in planned] == ["http://a/v1", "http://b/v1", "http://c/v1"]


def test_a_shared_study_and_a_gate_take_one_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--storage is for one --model"):
        plan_searches(SearchSettings(recipe="r.py", storage="sqlite:///x"), ("a", "b"), Path("best.json"))
    done = CliRunner().invoke(optimize, ["codes.py", "--check", "--model", "a", "--model", "b"])
    assert "Here optimize takes one --model, not 2." in str(done.exception)


@pytest.mark.parametrize("option", ["--like", "--from"])
def test_what_begins_a_recipe_does_not_go_with_several_models(option: str) -> None:
    given = ["recipe.py", "--model", "a", "--model", "b", option, "tickets"]
    outcome = CliRunner().invoke(optimize, given)
    assert isinstance(outcome.exception, UserError) and "one --model, not 2" in str(outcome.exception)
