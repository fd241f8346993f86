"""`optimize --new`: the recipe that it writes is in order, and nothing is overwritten."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from promptstill import UserError
from promptstill.task.open import open_task
from promptstill.task.scaffold import write_scaffold
from tests.support import ROOT


def test_a_new_recipe_is_in_order(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "optimizer", "--new", "mine.py"]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("mine.py is written. Put your rows into it, then: "), done.stderr
    assert done.stdout.endswith("optimize mine.py --check\n")
    assert open_task(str(tmp_path / "mine.py")).name == "mine"


def test_a_file_whose_name_is_no_identifier_has_the_recipe_task(tmp_path: Path) -> None:
    write_scaffold(tmp_path / "2nd try.py")
    assert open_task(str(tmp_path / "2nd try.py")).name == "task"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x = 1\n")
    with pytest.raises(UserError, match="exists already"):
        write_scaffold(tmp_path / "mine.py")
    assert (tmp_path / "mine.py").read_text() == "x = 1\n"


def test_another_suffix_is_refused_with_the_right_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Try: \S*optimize --new \S*mine\.py"):
        write_scaffold(tmp_path / "mine.txt")
