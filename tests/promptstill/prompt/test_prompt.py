"""The prompt: what it refuses, in a file and as inputs, and how a reader sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from promptstill import Prompt, UserError
from promptstill.prompt.artifact import SCHEMA_VERSION
from promptstill.prompt.layouts.build import build_prompt
from tests.support.tasks import ANSWER, DEMO_POLICIES

MODULES = "('dspy', 'torch', 'optuna', 'vllm')"


def write_artifact(path: Path, prompt: Prompt, **changes: object) -> Path:
    """A best.json of `prompt`, with changes to its content that leave the id as it was."""
    content = prompt.model_dump(mode="json") | changes
    path.write_text(json.dumps({"schema_version": SCHEMA_VERSION, "id": prompt.id, "prompt": content}))
    return path


def test_an_edited_prompt_is_refused(tmp_path: Path) -> None:
    path, prompt = tmp_path / "best.json", build_prompt(ANSWER, "chat", "I")
    with pytest.raises(UserError, match="holds no valid prompt"):
        Prompt.load(write_artifact(path, prompt, user="{context.__class__}"))
    with pytest.raises(UserError, match="holds no valid prompt"):
        Prompt.load(write_artifact(path, prompt, layout="unheard-of"))
    with pytest.raises(UserError, match="was changed by hand"):
        Prompt.load(write_artifact(path, prompt, instruction="other"))


def test_wrong_inputs_are_named() -> None:
    prompt = build_prompt(ANSWER, "chat", "I")
    with pytest.raises(UserError, match=r"Input question: missing\."):
        prompt.messages({"context": "c"})
    with pytest.raises(UserError, match=r"Input extra: unknown\."):
        prompt.messages({"context": "c", "question": "q", "extra": 1})
    with pytest.raises(UserError, match=r"Input question: not a string\."):
        prompt.messages({"context": "c", "question": 3})


def test_markdown_says_how_demos_are_picked() -> None:
    prompt = build_prompt(ANSWER, "chat", "I", DEMO_POLICIES["nearest"], k=2)
    assert "Before the question stand the 2 of 3 demos that are nearest by question, the nearest last." in (
        prompt.to_markdown()
    )


def test_prompts_load_without_dspy_or_torch() -> None:
    code = f"import sys, promptstill.prompt.prompt; print([m for m in {MODULES} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
