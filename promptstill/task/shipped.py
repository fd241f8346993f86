"""The recipes that come with promptstill: where they lie, what each is about, and the data that it reads.

They are the repository's folder `recipes/`, which setup.py puts into the wheel. Nothing here runs a recipe.
"""

from __future__ import annotations

import ast
import difflib
from pathlib import Path

from promptstill.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]


def shipped_folder() -> Path:
    """Where they lie: inside the package that a wheel installs, beside the one of a checkout."""
    inside = PACKAGE / "recipes"
    return inside if inside.is_dir() else PACKAGE.with_name("recipes")


def shipped_recipes() -> dict[str, Path]:
    """Their files by name."""
    return {path.stem: path for path in sorted(shipped_folder().glob("*.py"))}


def find_shipped(name: str) -> Path:
    """The file of the recipe `name`. Raises `UserError`, which tells of each what it is about."""
    known = shipped_recipes()
    if name in known:
        return known[name]
    widest = max(map(len, known), default=0)
    each = [f"  {one:<{widest}}  {subject(path)}" for one, path in known.items()]
    near = difflib.get_close_matches(name, known, 1)
    do = f"Did you mean {near[0]}?" if near else "Name one of them."
    raise UserError(f"No recipe called {name} comes with promptstill.", "\n".join(["There are:", *each]), do)


def subject(recipe: Path) -> str:
    """What a recipe is about: the first line of its docstring."""
    return (ast.get_docstring(ast.parse(recipe.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def data_files(recipe: Path) -> list[Path]:
    """The files of `data/` that a recipe names."""
    text = recipe.read_text(encoding="utf-8")
    return [file for file in sorted(recipe.with_name("data").iterdir()) if f'"data/{file.name}"' in text]
