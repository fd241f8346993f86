"""Lines to paste: quoted for the shell, and found by it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from promptstill.shell import command_line, program_words, short_path


def test_lines_to_paste_are_quoted_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Path(sys.executable).parent
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{ours}{os.pathsep}/usr/bin")
    assert command_line("optimize", "--show", Path("my prompts/best.json")) == "optimize --show 'my prompts/best.json'"
    (tmp_path / "serve").write_text("#!/bin/sh\n")
    (tmp_path / "serve").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{ours}")
    assert program_words("serve") == [str(ours / "serve")], "another program of that name stands first"
    monkeypatch.chdir(ours.parent)
    assert program_words("serve") == [f"{ours.name}/serve"]
    monkeypatch.setattr(sys, "executable", "/somewhere/bin/python")
    assert command_line("serve", "best.json") == "/somewhere/bin/python -m serving best.json"


def test_paths_below_the_working_directory_are_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    below, elsewhere, relative = tmp_path / "runs" / "a", Path("/etc"), Path("a")
    assert [short_path(path) for path in (below, elsewhere, relative)] == ["runs/a", "/etc", "a"]
