"""report.html: what it holds, that nothing in it escapes, its size, and its renewal while a run works."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.report.importance import importances, tried_values
from optimizer.report.report import read_facts, write_report
from optimizer.report.warnings import copied_instruction_warnings, copied_reply_warnings, leak_warnings
from optimizer.run.folder import RunFolder
from optimizer.search.candidate import Candidate, Choices
from optimizer.search.study import Trial
from promptstill import UserError
from promptstill.prompt.prompt import Message
from promptstill.scoring.rows import ArmReply, TestRow, read_test_rows
from tests.support import ROOT
from tests.support.codes import command, knows_with_demos, run
from tests.support.fake import FakeEndpoint
from tests.support.finished import copied, with_rows


def page_of(folder: RunFolder) -> str:
    return folder.report_path.read_text(encoding="utf-8")


def test_a_run_leaves_a_page_that_needs_nothing_else(finished_run: RunFolder) -> None:
    page = page_of(finished_run)
    assert "The winner beats the baseline prompt" in page and 'http-equiv="refresh"' not in page
    assert page.count("<details class=") == 40 == len(read_test_rows(finished_run.test_path))
    assert page.count("<svg") >= 5 and "DSPy default" in page and "sha256" in page
    assert not re.findall(r"(?:src|href)=(?![\"']?#)\S+|url\((?!#)|@import|//cdn", page), (
        "a page that fetches something"
    )
    assert "<ins>" in page


def test_a_page_made_again_from_files_is_the_same(finished_run: RunFolder, tmp_path: Path) -> None:
    mine = copied(finished_run, tmp_path)
    before = page_of(mine)
    mine.report_path.unlink()
    (mine.path / "calls.db").unlink()
    done = run([sys.executable, "-m", "optimizer", "--report", str(mine.path)], tmp_path)
    assert done.returncode == 0, done.stderr
    assert page_of(mine) == before


def test_hostile_text_stays_text(finished_run: RunFolder, tmp_path: Path) -> None:
    mine = with_rows(copied(finished_run, tmp_path), 9, "context")
    write_report(mine)
    page = page_of(mine)
    assert "<script>alert" not in page and "<img" not in page and "{{ 7 * 7 }}" in page
    assert page.count("&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;") >= 9
    assert page.count("<script>") == 1 and "script-src &#39;sha256-" not in page and "script-src 'sha256-" in page


@pytest.mark.parametrize(
    ("rows", "context", "most"), [(300, "<&>" * 5_000, 3_000_000), (5_000, "word " * 400, 12_000_000)]
)
def test_a_page_stays_small(rows: int, context: str, most: int, finished_run: RunFolder, tmp_path: Path) -> None:
    mine = with_rows(copied(finished_run, tmp_path), rows, context)
    write_report(mine)
    assert mine.report_path.stat().st_size < most
    assert page_of(mine).count("<details class=") == rows


def test_the_page_is_renewed_while_the_run_works_and_says_how_to_go_on(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        fake.delay_s = 0.2
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        argv = command(fake, tmp_path, "--window", "16", "--trials", "16")
        process = subprocess.Popen(argv, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not (pages := list(tmp_path.glob("runs/*/report.html"))) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        during = pages[0].read_text(encoding="utf-8")
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert 'http-equiv="refresh"' in during and "The search is running: 8 of 16 trials" in during
    after = pages[0].read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' not in after and "This run has not ended" in after and "optimize --resume" in after


def test_a_folder_of_another_form_is_refused_by_name(finished_run: RunFolder, tmp_path: Path) -> None:
    mine = copied(finished_run, tmp_path)
    mine.pools_path.write_text('{"instructions": []}')
    with pytest.raises(UserError, match="earlier version"):
        read_facts(mine)
    mine.pools_path.write_text('{"instructions": [], "reasonings": ["off"]}')
    with pytest.raises(UserError, match="cannot be read"):
        read_facts(mine)


def trials(decides: str) -> list[Trial]:
    layouts, demos = ("chat", "raw", "json"), ("none", "near")
    candidates = [Candidate(layouts[n % 3], demos[n // 3 % 2], 1, 0) for n in range(24)]
    scores = [0.9 if getattr(one, decides) in ("raw", "near") else 0.1 + n / 1000 for n, one in enumerate(candidates)]
    return [
        Trial(0, n, one, str(n), score, {0: score}, False, 0, 1.0, 1.0)
        for n, (one, score) in enumerate(zip(candidates, scores, strict=True))
    ]


SPACE: Choices = {
    "layout": ("chat", "raw", "json"),
    "demos": ("none", "near"),
    "k": (1, 2),
    "instruction": (0,),
    "reasoning": ("off", "field"),
}


@pytest.mark.parametrize("decides", ["layout", "demos"])
def test_the_choice_that_decides_is_told_from_chance(decides: str) -> None:
    found = importances(trials(decides), SPACE, 0)
    assert [one.choice for one in found if one.clear] == [decides]
    best = tried_values(trials(decides), SPACE)[decides][0]
    assert best.value in ("raw", "near") and best.best == 0.9


def test_noise_and_few_trials_tell_of_no_choice() -> None:
    noise = [
        Trial(0, t.slot, t.candidate, t.prompt_id, hash_like(t.slot), {0: 0.0}, False, 0, 1.0, 1.0)
        for t in trials("demos")
    ]
    assert not [one for one in importances(noise, SPACE, 0) if one.clear]
    assert importances(trials("demos")[:11], SPACE, 0) == []


def test_trials_that_nearly_all_tie_tell_of_no_choice_and_warn_of_nothing() -> None:
    tied = [replace(t, value=0.9 if t.slot < 3 else 0.0) for t in trials("demos")]
    assert not [one for one in importances(tied, SPACE, 0) if one.clear]


def hash_like(n: int) -> float:
    return (n * 7919 % 101) / 101


def test_cautions_name_leaks_and_copies(finished_run: RunFolder) -> None:
    prompt = read_facts(finished_run).prompts["winner"]
    passage = "A passage that is long enough to be no coincidence at all."
    told = prompt.model_copy(
        update={
            "instruction": "Remember that the quick brown fox jumps over the lazy dog.",
            "fixed": [Message(role="user", content=f"Word: {passage}"), Message(role="assistant", content="Code: c7")],
            "nearest": None,
        }
    )
    wrong, right = ArmReply(0.0, "c7", None), ArmReply(1.0, "c7", None)
    rows = [
        TestRow("a", {"word": passage}, {"code": "c1"}, {"winner": wrong}, "a"),
        TestRow("b", {"word": "the quick brown fox jumps over the lazy dog"}, {"code": "c7"}, {"winner": right}, "b"),
    ]
    assert list(leak_warnings(told, rows)) == [
        "Leak: word of 1 of 2 test rows stands word for word in the winner's demos. "
        'If rows that share it are not independent, set Recipe(group="word").'
    ]
    assert "shares 8 words in a row with 1 inputs of test" in next(copied_instruction_warnings(told, rows))
    assert "1 wrong replies of the winner repeat a line of its demos" in next(copied_reply_warnings(told, rows))
    assert not list(copied_reply_warnings(told, rows[1:])) and not list(leak_warnings(told, rows[1:]))
