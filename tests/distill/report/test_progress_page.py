"""report.html of a distillation that runs or was stopped."""

from __future__ import annotations

from pathlib import Path

from distill.folder import DistilledFolder
from distill.report.page import write_report
from distill.settings import DistillSettings


def test_the_page_grows_while_distill_works(unfinished: DistilledFolder, tmp_path: Path) -> None:
    new = DistilledFolder.create(tmp_path / "new", DistillSettings(from_prompt="best.json"))
    write_report(new, running=True)
    first = (new.path / "report.html").read_text(encoding="utf-8")
    assert "The distillation is running: the teacher is being asked." in first and "<svg" not in first
    write_report(unfinished, running=True)
    later = (unfinished.path / "report.html").read_text(encoding="utf-8")
    assert '<meta http-equiv="refresh" content="20">' in later and later.count("<svg") == 2
    assert "is running: 1 of up to 3 epochs are trained; the best scores 75.0 on dev." in later
    assert "5 rejected: scored too low" in later and "fake · teacher: fake · 40 rows for the teacher" in later
    assert "Scored answers needed a score of 1 or more." in later
    assert later.count("<script") == 1 and "<img" not in later


def test_a_half_written_line_of_metrics_is_left_out(unfinished: DistilledFolder) -> None:
    with (unfinished.work_dir / "student" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "epo')
    write_report(unfinished, running=True)
    assert "1 of up to 3 epochs" in (unfinished.path / "report.html").read_text(encoding="utf-8")
