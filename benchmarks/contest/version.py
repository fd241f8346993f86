"""What a cell names as its version: the peer's packages, or the sources of promptstill; and the commit it was made at.

A commit that changes documents alone does not change our version, so the cells before and after it stand together.
"""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from importlib.metadata import version

from benchmarks.contest.tasks import ROOT

PACKAGES = {"gepa": ("dspy-ai", "gepa"), "knn-8": ("dspy-ai", "scikit-learn"), "knn-16": ("dspy-ai", "scikit-learn")}
OUR_FOLDERS = ("promptstill", "optimizer")
OURS = ("baseline", "ours", "starters")
RIVALS = ("majority", "nearest", "bag_of_words")


def version_of(name: str) -> str:
    """The version of a contestant; CAPO's package as pinned, since it is in another environment."""
    if name in OURS:
        return our_version()
    if name in RIVALS:
        return f"{our_version()}, scikit-learn {version('scikit-learn')}"
    if name == "capo":
        lines = (ROOT / "benchmarks" / "peers.txt").read_text(encoding="utf-8").splitlines()
        return next(line.replace("==", " ") for line in lines if line.startswith("promptolution"))
    return ", ".join(f"{package} {version(package)}" for package in PACKAGES.get(name, ("dspy-ai",)))


@cache
def our_version() -> str:
    """The digest of the Python files that a search runs. Read once, as this process starts its first search."""
    found = hashlib.sha256()
    for path in sorted(path for folder in OUR_FOLDERS for path in (ROOT / folder).rglob("*.py")):
        found.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return f"promptstill {found.hexdigest()[:8]}"


@cache
def commit() -> str:
    """The commit that is checked out; "+" where tracked files differ from it, and "" outside of a repository."""
    head = git("rev-parse", "--short=10", "HEAD")
    return head + ("+" if head and git("status", "--porcelain", "--untracked-files=no", "--", *OUR_FOLDERS) else "")


def git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
