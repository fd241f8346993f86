"""`--effort`, and what may change alone: how far a search goes, and between what it chooses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from optimizer.run.folder import RunFolder
from optimizer.run.settings import SearchSettings
from promptstill.endpoint.allowance import Allowance, Limit, LimitReached, Limits
from promptstill.endpoint.store import Total
from promptstill.prompt.prompt import Prompt
from tests.support.codes import best, command, knows_with_demos, run
from tests.support.fake import FakeEndpoint

NO_TEST_OF_DSPY = ("--no-dspy", "--no-rivals")


def search(fake: FakeEndpoint, folder: Path, *options: str) -> Any:
    """A search that no number of trials ends."""
    words = command(fake, folder)
    at = words.index("--trials")
    return run([*words[:at], *words[at + 2 :], *NO_TEST_OF_DSPY, *options], folder)


def only_run(folder: Path) -> RunFolder:
    (path,) = (folder / "runs").iterdir()
    return RunFolder.open(path)


def test_a_search_without_a_number_of_trials_is_light_and_goes_on_with_more_effort(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        done = search(fake, tmp_path)
        assert done.returncode == 0, done.stderr
        light = best(tmp_path)["search"]
        folder = only_run(tmp_path)
        on = [sys.executable, "-m", "optimizer", "--resume", str(folder.path), "--base-url", fake.base_url]
        more = run([*on, "--effort", "medium"], tmp_path)
    assert more.returncode == 0, more.stderr
    assert "forecast: at most 580 calls, by --effort" in done.stderr and "trial 8  best on dev" in done.stderr
    assert 400 < light["spent"]["total"]["calls"] <= 580 and light["stopped"] is None
    assert "stopped early" not in done.stdout
    assert f"--resume {folder.path.relative_to(tmp_path)} --effort medium" in done.stdout
    medium = best(tmp_path)["search"]
    assert 580 < medium["spent"]["total"]["calls"] <= 1_580 and medium["trials"] > light["trials"]
    assert "--effort heavy" in more.stdout and max(fake.calls.values()) == 1


def test_a_number_of_trials_takes_the_place_of_an_effort() -> None:
    settings = SearchSettings(recipe="recipes/qa.py", trials=8)
    assert settings.search_calls is None and settings.most_trials == 8
    assert settings.whole_limits(1, 40) == Limits()
    both = SearchSettings(recipe="recipes/qa.py", trials=8, effort="medium", limits=Limits(calls=900))
    assert both.whole_limits(6, 40) == Limits(calls=900, effort=9_040)
    assert SearchSettings(recipe="recipes/qa.py").whole_limits(1, 40).most_calls == 540


def test_an_effort_counts_no_judge_and_ends_no_reading_of_test() -> None:
    allowance = Allowance(Limits(effort=10), held=4)
    allowance.pay("judge", Total(100))
    for _ in range(6):
        allowance.reserve()
        allowance.release()
        allowance.pay("task", Total(1))
    with pytest.raises(LimitReached) as reached:
        allowance.reserve()
    assert reached.value.limit == Limit("effort", 10) and str(reached.value.limit) == "--effort"
    allowance.begin_test()
    allowance.reserve()


@pytest.mark.parametrize(
    ("option", "fixed", "free"), [("instructions", "demos", "instruction"), ("demos", "instruction", "demos")]
)
def test_one_part_may_change_alone(option: str, fixed: str, free: str, tmp_path: Path) -> None:
    def model(body: Any) -> str:
        if "proposed_instruction" in json.dumps(body["messages"]):
            words = " ".join(f"w{abs(hash((str(body), part))) % 997}" for part in range(6))
            return f"[[ ## proposed_instruction ## ]]\nSay the code, {words}.\n\n[[ ## completed ## ]]"
        return knows_with_demos(body)

    with FakeEndpoint(model) as fake:
        done = search(fake, tmp_path, f"--{option}-only", "--trials", "8")
    assert done.returncode == 0, done.stderr
    tried = [one.candidate.to_params() for one in only_run(tmp_path).trials()]
    assert len({one[fixed] for one in tried}) == 1 == len({(one["layout"], one["reasoning"]) for one in tried})
    assert len({one[free] for one in tried}) > 1, tried


def test_the_two_do_not_go_together_and_a_whole_prompt_has_no_such_part(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        both = search(fake, tmp_path, "--instructions-only", "--demos-only")
        (tmp_path / "mine.md").write_text("Say the code of {{ word }}.")
        words = command(fake, tmp_path)
        recipe = (tmp_path / "codes.py").read_text().replace("split=", 'baseline="mine.md", split=')
        (tmp_path / "codes.py").write_text(recipe)
        whole = run([*words, "--instructions-only"], tmp_path)
    assert both.returncode == 2 and "--demos-only and --instructions-only do not go together." in both.stderr
    assert whole.returncode == 2 and "--instructions-only goes not with a prompt that is written whole" in whole.stderr


def test_each_prompt_of_the_front_is_a_file_that_can_be_read(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        done = search(fake, tmp_path, "--trials", "8", "--no-race")
    front, folder = best(tmp_path)["search"]["pareto"], only_run(tmp_path).pareto_path(1).parent
    assert done.returncode == 0 and len(front) > 1, front
    assert f"in {folder.relative_to(tmp_path)}" in done.stdout
    assert len(list(folder.iterdir())) == len(front)
    for number, point in enumerate(front, 1):
        path = folder / f"{number}.json"
        made = json.loads(path.read_text())
        assert made["scores"] == {"dev": {"mean": point["score"], "tokens": point["tokens"]}, "test": None}
        assert Prompt.load(path).id == made["id"]
        shown = run([sys.executable, "-m", "optimizer", "--show", str(path)], tmp_path)
        assert shown.returncode == 0 and "code" in shown.stdout
