"""The structure in figures: Python files a folder, levels of imports a package, lengths of functions.

python -m scripts.house
"""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("promptstill", "optimizer", "distill", "serving")


def main() -> None:
    """Print the figures, a line each."""
    for folder, files in sorted(files_per_folder().items()):
        print(f"{folder}: {files} Python files")
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    for package in PACKAGES:
        modules = {package, *graph.find_descendants(package)}
        imports = {one: graph.find_modules_directly_imported_by(one) & modules for one in modules}
        arrows = sum(map(len, imports.values()))
        print(f"{package}: {len(modules)} modules, {arrows} imports, {levels(imports)} levels")
    lengths = sorted(function_lengths())
    last = lengths[int(0.9 * len(lengths))]
    print(f"{len(lengths)} functions: median {statistics.median(lengths):.0f} lines, 90th percentile {last}")


def files_per_folder() -> dict[str, int]:
    """Python files by folder of the packages, without their subfolders."""
    folders: dict[str, int] = {}
    for path in sources():
        name = str(path.parent.relative_to(ROOT))
        folders[name] = folders.get(name, 0) + 1
    return folders


def levels(imports: dict[str, set[str]]) -> int:
    """Modules on the longest chain of imports. Raises `graphlib.CycleError` where they go in a circle."""
    level: dict[str, int] = {}
    for module in TopologicalSorter(imports).static_order():
        level[module] = 1 + max((level[other] for other in imports[module]), default=0)
    return max(level.values())


def function_lengths() -> Iterator[int]:
    """Lines of each function and method, signature and docstring counted."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield (node.end_lineno or node.lineno) - node.lineno + 1


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


if __name__ == "__main__":
    main()
