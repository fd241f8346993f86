"""Command lines for the user to paste: quoted for the shell, and found by it also where PATH does not lead to them."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

MODULES = {"optimize": "optimizer", "distill": "distill", "serve": "serving"}


def command_line(program: str, *words: object) -> str:
    """The line that runs one of the three programs with these arguments; paths are short (see `short_path`)."""
    arguments = [short_path(word) if isinstance(word, Path) else str(word) for word in words]
    return shlex.join([*program_words(program), *arguments])


def program_words(program: str) -> list[str]:
    """The program's name, where PATH leads to it; else its path; `python -m` where it is not installed as a program."""
    python, on_path = Path(sys.executable), shutil.which(program)
    ours = shutil.which(program, path=python.parent)  # on Windows its name ends in .exe
    if not ours:
        return [short_path(python), "-m", MODULES[program]]
    return [program] if on_path and Path(on_path).resolve() == Path(ours).resolve() else [short_path(Path(ours))]


def short_path(path: Path) -> str:
    """The path relative to the working directory where it is below it, else as it is."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
