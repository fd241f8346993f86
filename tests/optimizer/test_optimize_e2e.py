"""`optimize` on the real engine with the embedded model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from promptstill.engine.vllm import Engine
from tests.support import ROOT

RECIPE = """
from typing import Literal
import dspy
from promptstill import Recipe, exact_match, recipe

class Colour(dspy.Signature):
    "Is the thing hot or cold?"
    thing: str = dspy.InputField()
    feel: Literal["hot", "cold"] = dspy.OutputField()

@recipe
def feel() -> Recipe:
    hot = "fire lava sun oven stove kettle torch ember furnace steam"
    cold = "ice snow frost fridge glacier hail sleet igloo"
    things = [(w, "hot") for w in hot.split()] + [(w, "cold") for w in cold.split()]
    rows = [{"thing": f"{how} {w}", "feel": f} for w, f in things for how in ("the", "some")]
    return Recipe(signature=Colour, examples=rows, metric=exact_match("feel"), split=(12, 12, 12))
"""


@pytest.mark.e2e
def test_optimize_on_the_real_engine(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "feel.py").write_text(RECIPE)
    argv = [
        sys.executable,
        "-m",
        "optimizer",
        "feel.py",
        "--base-url",
        engine.base_url,
        "--trials",
        "5",
        "--proposals",
        "1",
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["scores"]["test"]["baseline"]["score"]["n"] == 12
    trials = [
        json.loads(line) for line in (next((tmp_path / "runs").iterdir()) / "trials.jsonl").read_text().splitlines()
    ]
    plain = [t for t in trials if t["candidate"]["reasoning"] == "off"]
    assert plain and all(trial["unparsed"] == 0 for trial in plain), "a Literal output never leaves its labels"
