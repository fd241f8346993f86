"""The command `distill` where no model is asked: --report, --resume of what is finished, the lines at the end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from distill.cli import distill, next_steps, to_settings
from distill.folder import DistilledFolder
from distill.settings import DistillSettings
from promptstill.errors import UserError
from tests.support.codes import run


def run_distill(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-m", "distill", *arguments], folder, **environment)


def test_report_writes_the_page_again(distilled: DistilledFolder, unfinished: DistilledFolder, tmp_path: Path) -> None:
    page = distilled.path / "report.html"
    before = page.read_text(encoding="utf-8")
    page.unlink()
    done, half, none = (
        run_distill(tmp_path, "--report", path) for path in (str(distilled.path), unfinished.path.name, "nothing")
    )
    assert (done.returncode, done.stdout) == (0, "distilled/report.html\n"), done.stderr
    assert page.read_text(encoding="utf-8") == before
    assert (half.returncode, half.stdout) == (0, "half way/report.html\n"), half.stderr
    text = (unfinished.path / "report.html").read_text(encoding="utf-8")
    assert "This distillation has not ended" in text and "<code>distill --resume &#39;half way&#39;</code>" in text
    assert "refresh" not in text
    assert none.returncode == 2 and "nothing is no distillation to go on with." in none.stderr


def test_the_commands_to_type_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    both = next_steps(tmp_path / "my student", Path("best.json"))
    assert both[1] == "look at it  my student/report.html"
    assert both[2].startswith("serve both  ") and both[2].endswith("serve best.json --adapter 'my student'")
    alone = next_steps(Path("distilled"), None)[2]
    assert alone.startswith("serve it    ") and alone.endswith("serve --adapter distilled")


def test_resume_of_a_finished_distillation_shows_it_and_measures_nothing(
    distilled: DistilledFolder, tmp_path: Path
) -> None:
    verdict = distilled.verdict_path.read_bytes()
    done = run_distill(tmp_path, "--resume", str(distilled.path))
    assert done.returncode == 0 and "is finished; this is its result." in done.stderr
    assert "Distil: the student beats the best prompt" in done.stdout.replace("\n", " ")
    assert "serve --adapter" in done.stdout and distilled.verdict_path.read_bytes() == verdict
    (distilled.path / "adapter_model.safetensors").unlink()
    assert not distilled.finished, "weights that were lost are made again, not shown as if they were there"


def test_resume_of_a_result_without_its_work_is_refused_at_once(distilled: DistilledFolder, tmp_path: Path) -> None:
    distilled.settings_path.unlink()
    done = run_distill(tmp_path, "--resume", str(distilled.path), PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 2 and "is no distillation to go on with." in done.stderr
    loaded = set(re.findall(r"^import time: .*\| +(\w+)$", done.stderr, re.MULTILINE))
    assert "distill" in loaded and not {"torch", "transformers", "peft"} & loaded, "what trains takes seconds to load"


def test_each_role_has_its_own_key() -> None:
    def given(*more: str) -> DistillSettings:
        words = ["--from-prompt", "best.json", "--teacher", "large@https://host/v1", "--api-key-env", "teacher=BIG"]
        return to_settings(distill.make_context("distill", [*words, *more]).params)

    settings, both = given(), given("--api-key-env", "MINE")
    assert (settings.teacher_model, settings.teacher_source.base_url) == ("large", "https://host/v1")
    assert (settings.source.api_key_env, settings.teacher_source.api_key_env) == ("OPENAI_API_KEY", "BIG")
    assert (both.source.api_key_env, both.teacher_source.api_key_env) == ("MINE", "BIG")
    with pytest.raises(UserError, match="--api-key-env proposer=X is for no role"):
        given("--api-key-env", "proposer=X")


def test_resume_takes_no_other_option() -> None:
    done = CliRunner().invoke(distill, ["--resume", "distilled", "--epochs", "5", "-k", "2"])
    assert isinstance(done.exception, UserError)
    assert done.exception.what == "--resume takes no other option than limits, not -k, --epochs."
