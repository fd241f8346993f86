"""What the files of a cross-validated distillation say of the compared student, and of the one that is shipped."""

from __future__ import annotations

import json

from distill.folder import DistilledFolder
from distill.report.page import write_report
from distill.verdict.verdict import DistillVerdict, verdict_sentence
from promptstill.files import file_digest, read_json
from promptstill.scoring.rows import read_row_ids
from promptstill.task.examples import Example

WHOSE = (
    "These figures are of a student that was trained without the first fold, on that fold's 40 rows; the best prompt "
    "was searched without it too. The student that is shipped was trained in the same way on all 120 labelled rows; "
    "none is left to evaluate it on."
)


def test_verdict_card_and_page_say_whose_figures_they_are(cross_validated: DistilledFolder) -> None:
    folder = cross_validated
    stored = read_json(folder.verdict_path)
    assert stored["final"] == {"labelled_rows": 120, "training_rows": 40, "epochs": 2, "seconds": 9.0}
    verdict = DistillVerdict.from_json(stored)
    assert verdict.final and verdict_sentence(verdict) == stored["sentence"] and stored["sentence"].endswith(WHOSE)
    card = (folder.path / "README.md").read_text()
    assert WHOSE in card and "on that fold's 40 rows, through vLLM" in " ".join(card.split())
    assert "The student in this folder:\n\n- Teacher: the prompt" in card and "`final/dataset.jsonl`" in card
    assert "On 11 tokens its log-probabilities" in card and "neither the search nor the training" not in card
    page = (folder.path / "report.html").read_text()
    assert "which neither the search nor the training saw: those of the first fold." in page
    assert "trained in the same way on all 120 labelled rows" in page and "What the compared student" in page


def test_the_adapter_is_the_shipped_one_and_the_record_has_both(cross_validated: DistilledFolder) -> None:
    folder = cross_validated
    made, record = read_json(folder.prompt_path), read_json(folder.path / "train.json")
    served = file_digest(folder.path / "adapter_model.safetensors")
    compared = file_digest(folder.work_dir / "student" / "adapter" / "adapter_model.safetensors")
    assert made["adapter"] == {"sha256": served, "r": 16, "compared_sha256": compared} and served != compared
    assert record["final"]["adapter"]["sha256"] == served and record["adapter"]["sha256"] == compared
    assert record["final"]["dataset"]["rejected"] == {"scored too low": 7}
    assert (folder.final_dir / "metrics.jsonl").is_file()
    assert len((folder.final_dir / "dataset.jsonl").read_text().splitlines()) == 40


def test_the_compared_student_counts_once_on_its_rows(cross_validated: DistilledFolder) -> None:
    folder = cross_validated
    (one, *_) = read_row_ids(folder.path / "test.jsonl")
    row = Example(one, "row 1", {}, {}, {}, one)
    compared = read_json(folder.prompt_path)["adapter"]["compared_sha256"]
    assert folder.count_students([row], compared) == 1 and folder.count_students([row], "0" * 64) == 2


def test_a_student_that_is_shipped_itself_is_told_of_as_ever(distilled: DistilledFolder) -> None:
    assert read_json(distilled.verdict_path)["final"] is None
    assert read_json(distilled.path / "train.json")["final"] is None
    assert set(read_json(distilled.prompt_path)["adapter"]) == {"sha256", "r"}
    card, page = ((distilled.path / name).read_text() for name in ("README.md", "report.html"))
    assert "Measured on 40 test rows that neither the search nor the training saw" in " ".join(card.split())
    assert "first fold" not in card + page and "The student in this folder" not in card


def test_the_page_of_a_running_one_says_when_the_shipped_student_trains(unfinished: DistilledFolder) -> None:
    work_dir = unfinished.work_dir / "final"
    work_dir.mkdir()
    (work_dir / "metrics.jsonl").write_text(json.dumps({"step": 1, "epoch": 1, "loss": 1.0, "lr": 0.1}) + "\n")
    write_report(unfinished, running=True)
    assert (
        "is running: the student that is shipped trains on all rows." in (unfinished.path / "report.html").read_text()
    )
