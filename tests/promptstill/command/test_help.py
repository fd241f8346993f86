"""The help of the three commands as a user sees it, and completion with Tab as each shell asks for it."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from promptstill.command.help import Command
from tests.support import ROOT

PROGRAMS = {"optimize": "optimizer", "distill": "distill", "serve": "serving"}
SLOW = {"dspy", "torch", "vllm", "optuna", "transformers", "litellm", "bm25s", "scipy"}
every_program = pytest.mark.parametrize("program", PROGRAMS)


def load_command(program: str) -> Command:
    command: Command = getattr(importlib.import_module(f"{PROGRAMS[program]}.cli"), program)
    return command


def run_command(program: str, *words: str, columns: int = 100) -> str:
    argv = [sys.executable, "-m", PROGRAMS[program], *words]
    env = {**os.environ, "COLUMNS": str(columns)}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


@every_program
def test_help_fits_a_screen_and_begins_with_an_example(program: str) -> None:
    wide, narrow = (run_command(program, "--help", columns=columns).splitlines() for columns in (100, 80))
    assert len(wide) <= 40 and len(narrow) <= 50
    assert max(map(len, wide)) <= 100 and max(map(len, narrow)) <= 80
    assert wide[0].startswith(f"Usage: python -m {PROGRAMS[program]} [OPTIONS]")
    assert wide[2].startswith(f"  {program} ") and run_command(program, "-h").splitlines() == wide


def test_help_has_headings_and_leaves_the_rare_to_help_all() -> None:
    short = run_command("optimize", "--help")
    assert [line for line in short.splitlines() if re.fullmatch(r"\w.*:", line)] == [
        "The task:",
        "The search:",
        "Instead of a search:",
        "Help:",
    ]
    assert "500, 1,500, 5,000 calls.  [default: light]" in short and "--window" not in short


@every_program
def test_help_all_has_every_option_the_codes_and_completion(program: str) -> None:
    text = run_command(program, "--help-all")
    names = [name for parameter in load_command(program).params for name in parameter.opts if name.startswith("-")]
    assert [name for name in names if not re.search(rf"^  .*(?<!\S){name}\b", text, re.MULTILINE)] == []
    assert "Exit codes:" in text and "  2         a mistake in " in text
    assert f'eval "$(_{program.upper()}_COMPLETE=bash_source {program})"' in text
    assert f"_{program.upper()}_COMPLETE=fish_source {program} | source" in text


@every_program
def test_every_option_has_a_heading_and_a_terse_help(program: str) -> None:
    for parameter in load_command(program).params:
        if parameter.param_type_name == "option":
            text = getattr(parameter, "help", "")
            assert text and len(text) <= 72, parameter.name
            assert hasattr(parameter, "heading") or parameter.name == "version"


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The console commands as an install writes them, for this source tree."""
    for program, module in PROGRAMS.items():
        path = tmp_path / program
        path.write_text(f"#!{sys.executable}\nimport sys\nfrom {module}.cli import main\nsys.exit(main())\n")
        path.chmod(0o755)
    return tmp_path


def complete(scripts: Path, program: str, **variables: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    argv = [str(scripts / program)]
    done = subprocess.run(argv, cwd=scripts, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("shell", "program", "begun", "candidate"),
    [
        ("bash", "optimize", "--win", "plain,--window"),
        ("zsh", "distill", "--from", "plain\n--from-prompt\n"),
        ("fish", "serve", "--ada", "plain,--adapter\t"),
    ],
)
def test_each_shell_gets_candidates(shell: str, program: str, begun: str, candidate: str, scripts: Path) -> None:
    variable, at = f"_{program.upper()}_COMPLETE", begun if shell == "fish" else "1"
    line = {"COMP_WORDS": f"{program} {begun}", "COMP_CWORD": at}
    candidates = complete(scripts, program, **{variable: f"{shell}_complete"}, **line)
    assert candidates.startswith(candidate), candidates
    script = complete(scripts, program, **{variable: f"{shell}_source"})
    assert f"{variable}={shell}_complete" in script


def test_values_and_paths_are_completed(scripts: Path) -> None:
    def complete_words(*words: str) -> str:
        return complete(
            scripts,
            "optimize",
            _OPTIMIZE_COMPLETE="bash_complete",
            COMP_WORDS=" ".join(["optimize", *words]),
            COMP_CWORD=str(len(words)),
        )

    assert complete_words("--layout", "r") == "plain,raw\n"
    assert (
        complete_words("--show", "be") == "file,be\n"
        and complete_words("--resume", "ru") == "dir,ru\n"
        and complete_words("rec") == "file,rec\n"
    )


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not here")
def test_bash_itself_completes(scripts: Path) -> None:
    line = (
        'eval "$(_OPTIMIZE_COMPLETE=bash_source optimize)"; COMP_WORDS=(optimize --max); COMP_CWORD=1; '
        '_optimize_completion optimize; printf "%s\\n" "${COMPREPLY[@]}"; complete -p optimize'
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{scripts}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, timeout=300, check=False)
    *options, completion = done.stdout.splitlines()
    limits = {"--max-minutes", "--max-calls", "--max-tokens", "--max-usd"}
    assert set(options) == {*limits, "--max-prompt-tokens", "--max-drop"}
    assert "_optimize_completion optimize" in completion, done.stderr


@every_program
def test_help_and_completion_load_nothing_slow(program: str) -> None:
    code = (
        f"import sys\nfrom {PROGRAMS[program]}.cli import {program}, main\nsys.argv = [{program!r}]\n"
        f"try:\n    main()\nexcept SystemExit:\n    print(*{sorted(SLOW)!r} & sys.modules.keys())"
    ).replace(repr(sorted(SLOW)), f"set({sorted(SLOW)!r})")
    variables = {f"_{program.upper()}_COMPLETE": "bash_complete", "COMP_WORDS": f"{program} --he", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout == "plain,--help-all\nplain,--help\n\n", done.stdout + done.stderr
