"""A recipe whose baseline is a prompt file: it is measured, beaten or shipped, named everywhere, and written back."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from optimizer import SearchSettings
from optimizer import optimize as search
from optimizer.cli import optimize
from optimizer.command.summary import summary
from optimizer.report.report import write_report
from optimizer.run.result import RunResult
from promptstill import Prompt, UserError
from promptstill.prompt.layouts import OWN
from tests.support.codes import RECIPE, knows_with_demos
from tests.support.fake import Answer, FakeEndpoint
from tests.support.terminal import printed

MINE = """\
---
reply: "json"
---

# system

Say the code, please. Answer as JSON: {"code": "…"}.

# user

blue

# assistant

{"code": "c7"}

# user

{{word}}
"""


def write_recipe(folder: Path, mine: str, baseline: str = '"mine.md"') -> None:
    (folder / "codes.py").write_text(
        RECIPE.replace("import Recipe", "import OwnPrompt, Recipe").replace(
            "signature=Add", f"signature=Add, baseline={baseline}"
        )
    )
    (folder / "mine.md").write_text(mine)


def searched(folder: Path, answer: Answer, **more: Any) -> tuple[RunResult, FakeEndpoint]:
    with FakeEndpoint(answer) as fake:
        settings = SearchSettings(recipe=str(folder / "codes.py"), base_url=fake.base_url, trials=9, **more)
        return search(settings, runs=folder / "runs", output=folder / "best.json"), fake


def test_a_production_prompt_is_measured_beaten_and_the_winner_exported_in_its_form(tmp_path: Path) -> None:
    write_recipe(tmp_path, MINE)
    made, fake = searched(tmp_path, knows_with_demos, layouts=("chat", "dspy-chat"))
    assert made.best is not None and made.verdict is not None and made.prompt is not None
    assert made.best["shipped"] == "winner" and made.best["baseline"] == "mine.md"
    assert made.verdict.over_baseline.low > 0
    own = made.run.prompts()["baseline"]
    sent = [body for body in fake.bodies if body["messages"][0]["content"].startswith("Say the code, please.")]
    assert own.layout == OWN and {json.dumps(body["messages"]) for body in sent} >= {
        json.dumps(own.messages(result.example.inputs)) for result in made.verdict.baseline.results
    }
    assert made.verdict.baseline.parse_failures == 0.0
    pools = json.loads(made.run.pools_path.read_text())
    assert pools["instructions"][1] == 'Say the code, please. Answer as JSON: {"code": "…"}.'
    assert (tmp_path / "runs").is_dir() and "your prompt mine.md" in made.run.report_path.read_text()
    told = printed(summary(made))
    assert "The winner beats your prompt mine.md on test: it is shipped." in told and "the baseline prompt" not in told
    assert " yours " in told


def test_the_file_goes_through_a_search_and_comes_back_byte_for_byte(tmp_path: Path) -> None:
    write_recipe(tmp_path, MINE.replace('reply: "json"', 'max_tokens: 25\nreply: "json"'))
    made, _ = searched(tmp_path, lambda body: '{"code": "c0"}', proposer="none")
    assert made.best is not None and made.best["shipped"] == "baseline"
    with chdir(tmp_path):
        shown = CliRunner().invoke(optimize, ["--show", "best.json", "--as", "md"])
    assert shown.stdout == (tmp_path / "mine.md").read_text()
    assert Prompt.load(tmp_path / "best.json").layout == OWN
    told = printed(summary(made))
    assert "does not beat your prompt mine.md on test beyond doubt, so your prompt mine.md is shipped." in told
    assert "The interval of the gain is not above zero." in told
    write_report(made.run)
    page = made.run.report_path.read_text()
    assert "The interval of the gain is not above zero." in page
    assert "So best.json holds your prompt mine.md." in page and "the baseline prompt" not in page


def test_a_pattern_that_never_matches_ends_a_search_before_its_race(tmp_path: Path) -> None:
    write_recipe(tmp_path, "Word: {{word}}", baseline='OwnPrompt("mine.md", pattern=r"Code: (\\w+)")')
    with FakeEndpoint(knows_with_demos) as fake:
        settings = SearchSettings(recipe=str(tmp_path / "codes.py"), base_url=fake.base_url)
        with pytest.raises(
            UserError, match=r"The pattern Code: \(\\w\+\) finds nothing in the replies to the first 16"
        ):
            search(settings, runs=tmp_path / "runs", output=None)
    asked = [body for body in fake.bodies if body["messages"][-1]["content"].startswith("Word: ")]
    assert len(asked) == 16 and len(fake.bodies) < 30


def test_check_names_an_unknown_slot_and_asks_no_model(tmp_path: Path) -> None:
    write_recipe(tmp_path, "# user\n\nThe word: {{wrd}}")
    done = CliRunner().invoke(optimize, [str(tmp_path / "codes.py"), "--check"])
    assert isinstance(done.exception, UserError)
    assert "mine.md, line 3: {{wrd}} cannot be filled.\nDid you mean {{word}}?" in str(done.exception)


def test_a_run_whose_prompt_file_changed_does_not_go_on(tmp_path: Path) -> None:
    write_recipe(tmp_path, MINE)
    made, _ = searched(tmp_path, lambda body: "c0", proposer="none", layouts=("chat",))
    (tmp_path / "mine.md").write_text(MINE.replace("please", "now"))
    with FakeEndpoint(lambda body: "c0") as fake:
        settings = SearchSettings(
            recipe=str(tmp_path / "codes.py"), base_url=fake.base_url, trials=9, proposer="none", layouts=("chat",)
        )
        with pytest.raises(UserError):
            search(settings, resume=made.run.path, output=None)
