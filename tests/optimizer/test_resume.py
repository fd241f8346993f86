"""What --resume takes and what it refuses by name; what a run that cannot begin, or whose page fails, leaves behind."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.pipeline import draw_report
from optimizer.run.folder import RunFolder
from promptstill import UserError
from tests.support.codes import command, knows_with_demos, run
from tests.support.fake import FakeEndpoint


def resume(folder: Path, *options: str) -> list[str]:
    (path,) = (folder / "runs").iterdir()
    return [sys.executable, "-m", "optimizer", "--resume", str(path), *options]


def test_a_model_that_the_endpoint_does_not_have_leaves_no_folder(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        done = run([*command(fake, tmp_path), "--model", "mistyped"], tmp_path)
    assert done.returncode == 2 and "does not serve mistyped" in done.stderr and "It serves fake" in done.stderr
    assert "--resume" not in done.stderr and not (tmp_path / "runs").exists() and not fake.bodies


def test_a_resume_refuses_by_name_what_cannot_change_and_takes_a_price(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        assert run([*command(fake, tmp_path), "--max-calls", "250"], tmp_path).returncode == 0
        fixed = {"--seed": "3", "--split-seed": "3", "--layout": "raw", "--proposer": "other", "--model": "other"}
        for option, value in fixed.items():
            refused = run(resume(tmp_path, option, value), tmp_path)
            assert refused.returncode == 2 and option in refused.stderr, refused.stderr
        priced = run(resume(tmp_path, "--max-calls", "400", "--max-usd", "9", "--price", "0.15,0.60"), tmp_path)
    assert priced.returncode == 0, priced.stderr
    assert " USD" in priced.stdout


def test_a_resume_at_another_endpoint_is_another_model_and_mixes_no_scores(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as first:
        assert run([*command(first, tmp_path), "--max-calls", "250"], tmp_path).returncode == 0
    with FakeEndpoint(knows_with_demos) as second:
        done = run(resume(tmp_path, "--max-calls", "700", "--base-url", second.base_url), tmp_path)
    assert done.returncode == 2 and "another model" in done.stderr


def test_minutes_bound_the_search_and_test_is_read_after_them(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        fake.delay_s = 0.1
        done = run([*command(fake, tmp_path), "--max-minutes", "0.1", "--window", "2"], tmp_path)
    assert done.returncode == 0, done.stderr
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["search"]["stopped"] and best["scores"]["test"]["baseline"]["score"]["n"] == 40
    assert best["search"]["rows_evaluated"] >= 16, "a run does not end with its first calls"


def test_a_page_that_cannot_be_drawn_is_said_and_fails_no_run(
    finished_run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no font")

    said: list[str] = []
    monkeypatch.setattr("optimizer.report.report.write_report", fail)
    draw_report(finished_run, said.append)
    assert len(said) == 1 and "no font" in said[0] and "optimize --report" in said[0]


def test_python_refuses_by_name_what_a_resumed_run_cannot_change(finished_run: RunFolder) -> None:
    begun = finished_run.settings()
    replace(begun, trials=99, window=2).refuse_changes(begun)
    with pytest.raises(UserError, match="layouts, seed cannot change"):
        replace(begun, seed=7, layouts=("raw",)).refuse_changes(begun)
