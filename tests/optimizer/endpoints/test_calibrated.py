"""`optimize` at a model that likes one label too much: the winner's bias gets into best.json and test."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from optimizer.run.folder import RunFolder
from promptstill.prompt.prompt import Prompt
from tests.support.codes import best, run
from tests.support.feel import RECIPE
from tests.support.providers.classifier import Classifier, SilentClassifier

COLD = [
    "ice",
    "snow",
    "frost",
    "fridge",
    "glacier",
    "hail",
    "sleet",
    "igloo",
    "freezer",
    "icicle",
    "blizzard",
    "tundra",
]
FAVOUR, EVIDENCE = 5.0, 4.0  # only a calibrated prompt says cold
WORDS = (" hot", " cold", "hot", "cold", "prompt", "still", "Hello", " ", "co", "ho")


def logits(body: dict[str, Any]) -> dict[str, float]:
    """It knows what is cold, and likes to say hot."""
    asked = str(body["messages"][-1]["content"]).rsplit("Thing:")[-1].lower()
    return {"hot": FAVOUR, "cold": EVIDENCE * any(word in asked for word in COLD)}


def optimize(fake: Classifier, folder: Path, *extra: str) -> str:
    (folder / "feel.py").write_text(RECIPE.replace('exact_match("feel"), ', 'exact_match("feel"), model="fake", '))
    argv = [sys.executable, "-m", "optimizer", "feel.py", "--base-url", fake.base_url, "--layout", "raw", *extra]
    done = run([*argv, "--trials", "8", "--proposals", "0", "--no-dspy"], folder)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_the_bias_is_in_best_json_and_answers_on_test(tmp_path: Path) -> None:
    with Classifier(logits, WORDS) as fake:
        optimize(fake, tmp_path)
    made = best(tmp_path)
    decoding, dev = made["prompt"]["decoding"], made["scores"]["dev"]
    assert made["search"]["winner"]["calibration"] != "none" and made["shipped"] == "winner"
    assert decoding["logit_bias_texts"]["cold"] > decoding["logit_bias_texts"]["hot"]
    assert (
        made["scores"]["test"]["winner"]["score"]["mean"] == 1.0 > made["scores"]["test"]["baseline"]["score"]["mean"]
    )
    assert made["search"]["spent"]["roles"]["calibration"]["calls"] > 0
    sent = Prompt.from_artifact(made, "best.json").request({"thing": "the ice"})["logit_bias"]
    assert any(body.get("logit_bias") == sent for body in fake.bodies)
    sure = dev["confidence"]
    assert sure["rows"].keys() == dev["shipped_rows"].keys() and 0.5 < sure["mean"] <= 1.0
    assert 0.0 <= sure["calibration_error"] <= 0.5
    page = RunFolder.open(next((tmp_path / "runs").iterdir())).report_path.read_text()
    assert "The winner is calibrated: it is" in page and "<td>full" in page


def test_an_endpoint_without_log_probabilities_is_searched_without_and_that_is_said(tmp_path: Path) -> None:
    with SilentClassifier(logits, WORDS) as fake:
        told = optimize(fake, tmp_path)
    made = best(tmp_path)
    assert "labels stay uncalibrated: the endpoint gives no log-probabilities" in told
    assert made["search"]["winner"]["calibration"] == "none" and "confidence" not in made["scores"]["dev"]
    assert "calibration" not in made["search"]["spent"]["roles"]


def test_calibration_can_be_left_out(tmp_path: Path) -> None:
    with Classifier(logits, WORDS) as fake:
        optimize(fake, tmp_path, "--no-calibration")
    assert best(tmp_path)["search"]["winner"]["calibration"] == "none"
    assert not any("logprobs" in body for body in fake.bodies)
