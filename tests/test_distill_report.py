"""distilled/report.html, through the writing of a whole result from parts that need no training."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from distill.arms import Arm
from distill.artifact import write
from distill.cli import whereabouts
from distill.dataset import compose, write_dataset
from distill.distillation import Distillation, Schooled
from distill.folder import Distilled
from distill.forgetting import Recall
from distill.hyper import Hyper
from distill.job import Trained
from distill.ladder import labels
from distill.logprobs import Liveness
from distill.plan import Plan
from distill.reasons import Reason, Rejected
from distill.report import write_report
from distill.settings import Settings
from distill.teach import Taught
from distill.verdict import Verdict, judge
from optimizer.files import write_jsonl
from optimizer.layouts import bare
from optimizer.models import Model
from optimizer.prepare import Prepared, prepare
from optimizer.prompt import read_artifact
from optimizer.run import RunFolder
from optimizer.settings import Settings as Run
from tests.finished import HOSTILE
from tests.test_distill_verdict import COST, arm
from tests.test_optimize import run


def spoken(right: float, tokens: float, per_s: float) -> Arm:
    """An arm of 40 rows with a hostile reply to each."""
    made = arm(right, tokens, per_s, n=40)
    return replace(made, replies=tuple((f"reply {n} {HOSTILE}", None) for n in range(40)))


def distilled(finished: RunFolder, folder: Distilled) -> tuple[Distillation, Prepared]:
    """A distillation of the finished run, as if a student had been trained."""
    prepared = prepare(Run(recipe=str(finished.path / "recipe.py")))
    prompt, model = bare(prepared.task), Model("fake", "fake", "5" * 64)
    entries, _ = compose(labels(prepared.splits.train), prompt)
    lost = [Rejected(row, 0, HOSTILE, Reason("scored too low", "0 below 1")) for row in prepared.splits.train[:5]]
    sha256 = write_dataset(folder.path, entries, lost)
    work = folder.work / "student"
    (work / "adapter").mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (work / "adapter" / name).write_text("{}")
    steps = [{"step": n, "epoch": 1, "loss": 3.0 / n, "lr": 0.1, "tokens": n, "seconds": n} for n in range(1, 9)]
    write_jsonl(work / "metrics.jsonl", [*steps, steps[-1] | {"dev": 0.75}])
    verdict = judge(spoken(0.1, 9, 40), spoken(0.5, 90, 9), spoken(0.9, 9, 40), spoken(0.8, 9, 40), COST, 1, 0)
    best = read_artifact(finished.best_path)
    plan = Plan(best, prepared, prompt, prompt, model, prompt, model, prepared.splits.train, 2)
    school = Schooled(work / "adapter", work / "metrics.jsonl", Hyper(), Trained(1, [0.75], [1.0], 9, 9.0, 9, "cpu"))
    taught = Taught(entries, sha256, 1.0, {"scored too low": 5}, 40, 9.0, {})
    live = Liveness("live", 9, 0.0, 1.0, 1.0, 0.1)
    settings = Settings(from_prompt="best.json")
    recall = Recall(9, 0.9, 0.9, {}, 0, 0)
    return Distillation(plan, settings, taught, school, school, verdict, live, recall, None), prepared


@pytest.fixture
def folder(finished_run: RunFolder, tmp_path: Path) -> Distilled:
    made = Distilled.create(tmp_path / "distilled", Settings(from_prompt="best.json"))
    write(made, distilled(finished_run, made)[0])
    return made


def test_the_page_shows_arms_training_filter_and_rows(folder: Distilled) -> None:
    page = (folder.path / "report.html").read_text(encoding="utf-8")
    verdict = json.loads((folder.path / "verdict.json").read_text())
    assert "Distil: the student beats the best prompt" in page and page.count("<svg") == 3
    assert page.count("<details class=") == 40 and page.count('<details class="win"') == 16
    assert "5 rejected: scored too low" in page and "Fine-tuning or prompt engineering" in page
    assert page.count("<script") == 1 and "<img" not in page
    assert "replies" not in verdict["arms"]["student + bare prompt"], "test.jsonl holds them, beside their rows"


def test_the_page_is_made_again_from_files(folder: Distilled) -> None:
    before = (folder.path / "report.html").read_text(encoding="utf-8")
    write_report(folder)
    assert (folder.path / "report.html").read_text(encoding="utf-8") == before


def test_a_verdict_and_an_arm_survive_their_file() -> None:
    made = judge(spoken(0.1, 9, 40), spoken(0.5, 90, 9), spoken(0.9, 9, 40), None, COST, 3, 0)
    again = Verdict.from_json(json.loads(json.dumps(made.to_json())))
    assert again.to_json() == made.to_json() and again.over_best == made.over_best and again.students == 3
    assert Arm.from_json(json.loads(json.dumps(made.best.to_json()))) == made.best


def test_students_are_counted_over_the_folders_beside_this_one_that_have_its_test_rows(folder: Distilled) -> None:
    other = Distilled.create(folder.path.with_name("other"), Settings(from_prompt="best.json"))
    written = json.loads(folder.prompt_path.read_text())
    rows, own = written["splits"]["sha256"]["test"], written["adapter"]["sha256"]
    for name, text in (("torn", "{"), ("list", "[1]"), ("best", '{"splits": {"sha256": {"test": "rows"}}}')):
        (folder.path.with_name(name)).mkdir()
        (folder.path.with_name(name) / "prompt.json").write_text(text)
    assert other.measured("other rows", "another") == 1
    assert other.measured(rows, own) == 1, "the same student, trained twice"
    assert other.measured(rows, "another") == 2


def half_way(finished_run: RunFolder, tmp_path: Path, name: str = "half way") -> Distilled:
    """A folder whose teacher has answered, and whose student has trained one epoch."""
    made = Distilled.create(tmp_path / name, Settings(from_prompt="best.json"))
    done, _ = distilled(finished_run, made)
    made.keep("plan", done.plan.told)
    arms = {"best": done.verdict.best, "bare": done.verdict.bare}
    made.keep("taught", replace(done.taught, arms=arms).to_json())
    return made


def test_the_page_grows_while_distill_works(finished_run: RunFolder, tmp_path: Path) -> None:
    folder = Distilled.create(tmp_path / "new", Settings(from_prompt="best.json"))
    write_report(folder, running=True)
    begun = (folder.path / "report.html").read_text(encoding="utf-8")
    assert "The distillation is running: the teacher is being asked." in begun and "<svg" not in begun
    folder = half_way(finished_run, tmp_path)
    write_report(folder, running=True)
    grown = (folder.path / "report.html").read_text(encoding="utf-8")
    assert '<meta http-equiv="refresh" content="20">' in grown and grown.count("<svg") == 2
    assert "is running: 1 of up to 3 epochs are trained, the best scores 75.0 on dev." in grown
    assert "5 rejected: scored too low" in grown and "fake · taught by fake · 40 rows to learn from" in grown
    assert grown.count("<script") == 1 and "<img" not in grown


def test_a_half_written_line_of_metrics_is_left_out(finished_run: RunFolder, tmp_path: Path) -> None:
    folder = half_way(finished_run, tmp_path)
    with (folder.work / "student" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "epo')
    write_report(folder, running=True)
    assert "1 of up to 3 epochs" in (folder.path / "report.html").read_text(encoding="utf-8")


def test_report_makes_the_page_again(folder: Distilled, finished_run: RunFolder, tmp_path: Path) -> None:
    page = folder.path / "report.html"
    before = page.read_text(encoding="utf-8")
    page.unlink()
    stopped = half_way(finished_run, tmp_path)
    done, half, none = (
        run([sys.executable, "-m", "distill", "--report", path], tmp_path)
        for path in (str(folder.path), stopped.path.name, "nothing")
    )
    assert (done.returncode, done.stdout) == (0, "distilled/report.html\n"), done.stderr
    assert page.read_text(encoding="utf-8") == before
    assert (half.returncode, half.stdout) == (0, "half way/report.html\n"), half.stderr
    text = (stopped.path / "report.html").read_text(encoding="utf-8")
    assert "This distillation has not ended" in text and "<code>distill --resume &#39;half way&#39;</code>" in text
    assert "refresh" not in text
    assert none.returncode == 2 and "nothing is no distillation to go on with." in none.stderr


def test_the_commands_to_type_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    both = whereabouts(tmp_path / "my student", Path("best.json"))
    assert both[1] == "look at it  my student/report.html"
    assert both[2].startswith("serve both  ") and both[2].endswith("serve best.json --adapter 'my student'")
    alone = whereabouts(Path("distilled"), None)[2]
    assert alone.startswith("serve it    ") and alone.endswith("serve --adapter distilled")


def test_resume_of_a_finished_distillation_shows_it_and_measures_nothing(folder: Distilled, tmp_path: Path) -> None:
    verdict = folder.verdict_path.read_bytes()
    done = run([sys.executable, "-m", "distill", "--resume", str(folder.path)], tmp_path)
    assert done.returncode == 0 and "is finished; this is what it found." in done.stderr
    assert "Distil: the student beats the best prompt" in done.stdout.replace("\n", " ")
    assert "serve --adapter" in done.stdout and folder.verdict_path.read_bytes() == verdict
    (folder.path / "adapter_model.safetensors").unlink()
    assert not folder.finished, "weights that were lost are made again, not shown as if they were there"


def test_resume_of_a_result_without_its_work_is_refused_in_words(folder: Distilled, tmp_path: Path) -> None:
    folder.settings_path.unlink()
    done = run([sys.executable, "-m", "distill", "--resume", str(folder.path)], tmp_path)
    assert done.returncode == 2 and "is no distillation to go on with." in done.stderr
