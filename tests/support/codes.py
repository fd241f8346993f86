"""The smallest task: a recipe of codes, a fake model that knows it by demos, and the command run on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import ROOT
from tests.support.fake import Body, FakeEndpoint

RECIPE = """
import dspy
from promptstill import Recipe, exact_match, recipe

class Add(dspy.Signature):
    "Say the code of the word."
    word: str = dspy.InputField()
    code: str = dspy.OutputField()

@recipe
def codes() -> Recipe:
    rows = [{"word": f"w{i} {'even' if i % 2 == 0 else 'odd'} {i % 7}", "code": f"c{i % 2}"} for i in range(120)]
    return Recipe(signature=Add, examples=rows, metric=exact_match("code"), model="fake", split=(40, 40, 40))
"""


def knows_with_demos(body: Body) -> str:
    """Right when the prompt shows demos, in proportion to how many; never right without."""
    text = json.dumps(body["messages"])
    shown = sum(text.count(code) for code in ("c0", "c1"))
    question = str(body["messages"][-1]["content"]).rsplit("w", 1)[-1]
    right = "c0" if "even" in question else "c1"
    code = right if len(question) * 7 % 10 < min(shown, 9) else "c?"
    return f"[[ ## code ## ]]\n{code}" if "[[ ##" in text else json.dumps({"code": code}) if "JSON" in text else code


def command(fake: FakeEndpoint, folder: Path, *extra: str) -> list[str]:
    (folder / "codes.py").write_text(RECIPE)
    return [sys.executable, "-m", "optimizer", "codes.py", "--base-url", fake.base_url, "--trials", "12", *extra]


def run(argv: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)


def best(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "best.json").read_text()))
