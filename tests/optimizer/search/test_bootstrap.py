"""Demos that the model writes itself: the best where none is perfect, and no longer than a prompt's demos may be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy
import pytest

from optimizer.search.sources.bootstrap import REASONED, BootstrapSource
from optimizer.search.sources.demo_room import demo_room
from optimizer.search.sources.given import empty_space
from optimizer.search.sources.source import SourceContext
from optimizer.search.space import BYTES_PER_TOKEN, Addition, demo_bytes
from promptstill.endpoint.client import Client
from promptstill.prompt.layouts.task import Task
from promptstill.scoring.evaluate import ScoredRow, best_answers
from promptstill.task.examples import Example
from promptstill.task.metrics import exact_match
from tests.support.client import run_with_client
from tests.support.fake import Body, FakeEndpoint

TRAIN = [
    Example(str(i), str(i), {"question": f"what {i}"}, {"answer": "yes"}, {"question": f"what {i}"}, str(i))
    for i in range(60)
]


def scored(scores: list[float]) -> list[ScoredRow]:
    return [ScoredRow(TRAIN[i], score, "", {"answer": str(i)}, None, 1, 0, 1, 0.0) for i, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([1.0, 0.9, 1.0], [1.0, 1.0]),
        ([0.2, 0.9, 0.0, 0.4, 0.5, 0.0, 0.0, 0.1], [0.9, 0.5]),
        ([0.0, 0.3], [0.3]),
        ([0.0, 0.0], []),
    ],
)
def test_where_no_answer_is_perfect_the_best_quarter_shows_the_way(scores: list[float], kept: list[float]) -> None:
    assert [one.score for one in best_answers(scored(scores))] == kept


def test_demos_with_reasoning_stay_within_the_tokens_of_fixed_demos(tmp_path: Path) -> None:
    def answer(body: Body) -> str:
        reasons = json.dumps(body["messages"]).count("easoning")
        return f"{'because of this and that ' * 40}\nAnswer: yes" if reasons else "yes"

    async def propose(client: Client) -> tuple[Addition, int, int]:
        task = Task(dspy.Signature("question -> answer", "Answer."), "fake", 8)
        context = SourceContext(task, TRAIN, exact_match("answer"), (), 0)
        space = empty_space(TRAIN, demo_room(8_192, slow=True), ("raw",), structured=False, reasonings=("off", "field"))
        return await BootstrapSource(context).propose(space, (), 1, client), max(space.sizes), space.demo_tokens

    with FakeEndpoint(answer) as fake:
        addition, most, tokens = run_with_client(fake, tmp_path, propose)
    sizes: dict[str, Any] = {name: sum(map(demo_bytes, one.demos)) for name, one in addition.demo_sets.items()}
    assert 1 < len(addition.demo_sets[REASONED].demos) < most == len(addition.demo_sets["bootstrapped-0"].demos)
    assert max(sizes.values()) <= BYTES_PER_TOKEN * tokens
