"""report.html of a result, and the files beside it, from parts that need no training."""

from __future__ import annotations

import json

from distill.folder import DistilledFolder
from distill.report.page import write_report
from promptstill.prompt.artifact import SCHEMA_VERSION


def test_the_page_shows_arms_training_filter_and_rows(distilled: DistilledFolder) -> None:
    page = (distilled.path / "report.html").read_text(encoding="utf-8")
    assert "Distil: the student beats the best prompt" in page and page.count("<svg") == 3
    assert page.count("<details class=") == 40 and page.count('<details class="win"') == 16
    assert "5 rejected: scored too low" in page and "Fine-tuning or prompt engineering" in page
    assert "40 training rows: 40 from gold. Scored answers needed a score of 1 or more." in page
    assert page.count("<script") == 1 and "<img" not in page


def test_what_needs_no_model_is_in_the_page_the_card_and_the_rows(distilled: DistilledFolder) -> None:
    page = (distilled.path / "report.html").read_text(encoding="utf-8")
    assert "<td>nearest rows, k = 3<td>50.0" in page and "over nearest rows" in page
    card = (distilled.path / "README.md").read_text(encoding="utf-8")
    assert "| nearest rows, k = 3 | 50.0 |" in card and "What needs no language model, on the same rows:" in card
    verdict = json.loads(distilled.verdict_path.read_text())
    assert verdict["rivals"]["nearest"]["gain"]["mean"] == 0.4 and verdict["sentence"].startswith("Distil: ")
    row = json.loads((distilled.path / "test.jsonl").read_text().splitlines()[0])
    assert row["answers"]["nearest rows"]["reply"] == "c0"


def test_the_page_is_made_again_from_files(distilled: DistilledFolder) -> None:
    before = (distilled.path / "report.html").read_text(encoding="utf-8")
    write_report(distilled)
    assert (distilled.path / "report.html").read_text(encoding="utf-8") == before


def test_the_replies_stand_in_test_jsonl_alone(distilled: DistilledFolder) -> None:
    verdict = json.loads(distilled.verdict_path.read_text())
    rows = (distilled.path / "test.jsonl").read_text().splitlines()
    assert "replies" not in verdict["arms"]["student + bare prompt"]
    assert json.loads(rows[0])["answers"]["student + bare prompt"]["reply"].startswith("reply 0 ")


def test_the_training_is_recorded_with_its_checks(distilled: DistilledFolder) -> None:
    record = json.loads((distilled.path / "train.json").read_text())
    assert record["schema_version"] == SCHEMA_VERSION
    assert record["dataset"]["training_rows"] == 40 and record["dataset"]["min_score"] == 1.0
    assert record["adapter_check"]["state"] == "live" and record["retention"]["items"] == 9
