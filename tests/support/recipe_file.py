"""A small recipe as a file, and the rows that it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HEAD = """
import dspy
from promptstill import Recipe, exact_match, read_jsonl, recipe

class Ask(dspy.Signature):
    "Answer."
    question: str = dspy.InputField()
    answer: str = dspy.OutputField()
"""
RECIPE = (
    HEAD
    + """
@recipe
def ask(data: str = "rows.jsonl", limit: int = 3) -> Recipe:
    return Recipe(signature=Ask, examples=read_jsonl(data), metric=exact_match('answer'))
"""
)


def make_rows(count: int = 20) -> list[dict[str, Any]]:
    return [{"question": f"q{i}", "answer": f"a{i}"} for i in range(count)]


def write_recipe(folder: Path, text: str = RECIPE, rows: list[Any] | None = None, name: str = "ask.py") -> str:
    """Write the recipe, and `rows` beside it as rows.jsonl; the recipe's path."""
    (folder / name).write_text(text)
    if rows is not None:
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / name)
