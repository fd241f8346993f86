"""distilled/report.html, through the writing of a whole result from parts that need no training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from distill.arms import Arm
from distill.artifact import write
from distill.dataset import compose, write_dataset
from distill.folder import Distilled
from distill.forgetting import Recall
from distill.hyper import Hyper
from distill.job import Trained
from distill.ladder import labels
from distill.logprobs import Liveness
from distill.pipeline import Distillation, Schooled
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
    verdict = judge(spoken(0.1, 9, 40), spoken(0.5, 90, 9), spoken(0.9, 9, 40), spoken(0.8, 9, 40), COST, 0)
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
    made = judge(spoken(0.1, 9, 40), spoken(0.5, 90, 9), spoken(0.9, 9, 40), None, COST, 0)
    again = Verdict.from_json(json.loads(json.dumps(made.to_json())))
    assert again.to_json() == made.to_json() and again.over_best == made.over_best and again.gold is None
    assert Arm.from_json(json.loads(json.dumps(made.best.to_json()))) == made.best
