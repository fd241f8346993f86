"""A small task, a fake endpoint that can do it, and an arena before that endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.contest.arena import Arena
from benchmarks.contest.tasks import BenchTask
from tests.support.codes import RECIPE, knows_with_demos
from tests.support.fake import FakeEndpoint


@pytest.fixture
def task(tmp_path: Path) -> BenchTask:
    recipe = tmp_path / "codes.py"
    code = RECIPE.replace("def codes() -> Recipe:", 'def codes(data: str = "rows.jsonl") -> Recipe:')
    code = code.replace("import Recipe,", "import Recipe, read_jsonl,").replace("    rows = [", "    made = [")
    code = code.replace("    return Recipe(", "    rows = read_jsonl(data)\n    return Recipe(")
    recipe.write_text(code)
    rows = [{"word": f"w{i} {'even' if i % 2 == 0 else 'odd'} {i % 7}", "code": f"c{i % 2}"} for i in range(120)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return BenchTask("codes", recipe, tmp_path / "rows.jsonl", (40, 40, 40), (30, 20, 30))


def reply(body: dict[str, Any]) -> str:
    """As the fake of optimize's tests, in JSON where a schema is asked for. Proposals are sentences."""
    if body.get("temperature"):
        return "Say the code of it, please."
    *before, last = body["messages"]
    asked = str(last["content"]).partition("\n\nRespond with")[0]  # what DSPy adds has letters of its own
    text = knows_with_demos({**body, "messages": [*before, {**last, "content": asked}]})
    return json.dumps({"code": text.split("\n")[-1]}) if body.get("response_format") else text


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(reply) as endpoint:
        yield endpoint


@pytest.fixture
def arena_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[FakeEndpoint], Arena]:
    """Makes an arena before a fake endpoint; its cells are in `tmp_path / "results"`."""

    def make(fake: FakeEndpoint) -> Arena:
        monkeypatch.setenv("BENCH_BASE_URL", fake.base_url)
        monkeypatch.setenv("BENCH_MODEL", "fake")
        return Arena(tmp_path / "results", fast=True)

    return make
