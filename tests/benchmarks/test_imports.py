"""Nothing but these tests imports from benchmarks/, and benchmarks/ uses public names alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support import ROOT

FOLDERS = ("promptstill", "optimizer", "distill", "serving", "recipes", "scripts", "docs", "tests")


def test_nothing_else_imports_from_benchmarks() -> None:
    own = ROOT / "tests" / "benchmarks"
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if not path.is_relative_to(own)]
    assert len(files) > 100
    imports = re.compile(r"^\s*(from|import) benchmarks\b", re.M)
    assert [str(path) for path in files if imports.search(path.read_text(encoding="utf-8"))] == []


def private_uses(module: ast.Module) -> Iterator[str]:
    """Names that begin with one underscore where another module may own them: read, imported, or overridden."""
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and ast.unparse(node.value) not in ("self", "cls"):
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            yield from (one.name for one in node.names if is_private(one.name))
        elif isinstance(node, ast.ClassDef) and node.bases:
            methods = (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
            yield from (f"{node.name}.{one.name}" for one in methods if is_private(one.name))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_benchmarks_use_public_names_alone() -> None:
    files = sorted((ROOT / "benchmarks").rglob("*.py"))
    uses = [f"{path.name}: {use}" for path in files for use in private_uses(ast.parse(path.read_text("utf-8")))]
    assert len(files) > 30 and uses == []


@pytest.mark.parametrize(
    "code", ["steps._prepare()", "from a import _b", "class Mine(Theirs):\n    def _growth(self): ...", "super()._a"]
)
def test_a_private_use_is_seen(code: str) -> None:
    assert list(private_uses(ast.parse(code)))
