"""Command lines to paste: quoted for the shell, and found by it even where the programs are not on its PATH."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

MODULES = {"optimize": "optimizer", "distill": "distill", "serve": "serving"}


def pasted(program: str, *words: object) -> str:
    """The line that runs one of the three programs with these words; paths below the working directory are short."""
    return shlex.join([*found(program), *(near(word) if isinstance(word, Path) else str(word) for word in words)])


def found(program: str) -> list[str]:
    """The program's name where PATH leads to ours, else the path of ours; from a source tree `python -m`."""
    ours, there = Path(sys.executable).parent / program, shutil.which(program)
    if not ours.is_file():
        return [near(Path(sys.executable)), "-m", MODULES[program]]
    return [program] if there and Path(there).resolve() == ours.resolve() else [near(ours)]


def near(path: Path) -> str:
    """The path from the working directory where it lies below it, else as it is."""
    if not path.is_absolute():
        return str(path)
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir) else relative
