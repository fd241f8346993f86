"""The check of a hosted model, at servers that behave as OpenAI's reasoning models and Anthropic's are known to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT
from tests.support.fake import Body
from tests.support.providers.hosted import NewerClaude
from tests.support.providers.openai import OpenAIReasoning


def check(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    own = {"BIN": str(Path(sys.executable).parent), "OUT": str(folder / "out"), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["bash", str(ROOT / "scripts" / "api_check.sh"), *words],
        env={**clean, **own, **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def feel(body: Body) -> str:
    """One of the labels, in the form that the request asks for."""
    text = json.dumps(body["messages"])
    label = ("positive", "negative")[len(text) % 2]
    return json.dumps({"label": label}) if "response_format" in body else label


def test_the_whole_check_at_a_reasoning_model(tmp_path: Path) -> None:
    with OpenAIReasoning(feel, model="thinker", key="secret-key") as fake:
        done = check(tmp_path, fake.base_url, "thinker", "MY_KEY", MY_KEY="secret-key")
    assert done.returncode == 0, done.stderr
    assert "thinker: the search and its gate passed" in done.stdout
    assert '"limit": "max_completion_tokens"' in done.stdout and '"thinking_tokens": 2048' in done.stdout
    assert 40 < fake.requests < 130
    assert "secret-key" not in done.stdout + done.stderr


def test_the_whole_check_at_a_provider(tmp_path: Path) -> None:
    with NewerClaude(feel) as fake:
        done = check(tmp_path, "anthropic", "claude-opus-4-8", **fake.environment)
    assert done.returncode == 0, done.stderr
    assert "anthropic/claude-opus-4-8: the search and its gate passed" in done.stdout
    assert '"temperature": false' in done.stdout and '"stop": false' in done.stdout
    assert "asked through LiteLLM" in done.stderr
    assert "githubusercontent" not in done.stderr, "LiteLLM fetches nothing"
    assert 40 < fake.requests < 130


def test_a_missing_key_and_an_unknown_provider_are_refused(tmp_path: Path) -> None:
    done = check(tmp_path, "mistral", "any")
    assert done.returncode == 2 and "export MISTRAL_API_KEY=" in done.stderr
    for words in (("nobody", "any"), ("openai",)):
        done = check(tmp_path, *words)
        assert done.returncode == 2 and done.stderr.startswith("usage: ")
    assert not (tmp_path / "out").exists()
