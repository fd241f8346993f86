"""Nothing but these tests imports from benchmarks/."""

from __future__ import annotations

import re

from tests.support import ROOT

FOLDERS = ("promptstill", "optimizer", "distill", "serving", "recipes", "scripts", "docs", "tests")


def test_nothing_else_imports_from_benchmarks() -> None:
    own = ROOT / "tests" / "benchmarks"
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if not path.is_relative_to(own)]
    assert len(files) > 100
    imports = re.compile(r"^\s*(from|import) benchmarks\b", re.M)
    assert [str(path) for path in files if imports.search(path.read_text(encoding="utf-8"))] == []
