"""Embeddings for a rival: in batches, each text once, retried where that may help, and refused in words."""

from __future__ import annotations

import asyncio

import pytest

from promptstill.errors import InfrastructureError, UserError
from promptstill.scoring.evaluate import mean_score
from promptstill.scoring.rivals.embedder import BATCH, Embedder, to_embedder
from promptstill.scoring.rivals.measure import measure_rivals
from promptstill.scoring.rivals.task import RivalTask
from tests.promptstill.scoring.rivals.embeddings_server import FakeEmbeddings, letter_counts
from tests.promptstill.scoring.rivals.test_rivals import ANSWER, TEAM, TEXT, colours, equal


def embed(fake: FakeEmbeddings, texts: list[str], model: str = "letters") -> dict[str, list[float]]:
    embedder = to_embedder(fake.option, "NO_SUCH_KEY")
    return asyncio.run(Embedder(model, embedder.endpoint).embed(texts))


def test_each_text_is_asked_once_and_in_batches() -> None:
    texts = [f"text {chr(97 + n % 26)} {n}" for n in range(2 * BATCH + 5)]
    with FakeEmbeddings() as fake:
        found = embed(fake, [*texts, *texts, "", "  "])
    assert {len(batch) for batch in fake.batches} == {BATCH, 7} and len(fake.batches) == 3
    assert found["text c 2"] == letter_counts("text c 2") and found[""] == found["  "]
    assert set(found) == {*texts, "", "  "}


def test_a_busy_endpoint_is_asked_again_and_a_dead_one_ends_the_run() -> None:
    with FakeEmbeddings() as fake:
        fake.misbehave = lambda number: (429, 500)[number - 1] if number < 3 else None
        assert embed(fake, ["a"])["a"] == letter_counts("a") and fake.requests == 3
    with FakeEmbeddings() as fake:
        fake.misbehave = lambda number: 503
        with pytest.raises(InfrastructureError, match="told to answer 503"):
            embed(fake, ["a"])


@pytest.mark.parametrize("vector", [[], ["x"], [float("inf")]], ids=["empty", "text", "infinite"])
def test_what_is_no_embedding_is_never_learned_from(vector: list[object]) -> None:
    with FakeEmbeddings() as fake:
        fake.vector = lambda text: list(vector)
        with pytest.raises(InfrastructureError):
            embed(fake, ["a"])


def test_what_the_endpoint_refuses_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeEmbeddings(key="sesame-open") as fake:
        with pytest.raises(UserError, match="refused the API key"):
            embed(fake, ["a"])
        monkeypatch.setenv("MY_KEY", "sesame-open")
        with_key = to_embedder(fake.option, "MY_KEY")
        assert asyncio.run(with_key.embed(["a"])) == {"a": letter_counts("a")}
    with FakeEmbeddings() as fake:
        with pytest.raises(UserError, match="no embeddings of other"):
            embed(fake, ["a"], "other")
        with pytest.raises(UserError, match="maximum context length"):
            embed(fake, ["a " * 9_000])
    with pytest.raises(UserError, match="names no endpoint"):
        to_embedder("text-embedding-3-small", "MY_KEY")


def test_a_classifier_on_embeddings_is_one_rival_more() -> None:
    train, dev, test = colours(60), colours(15, 60), colours(30, 90)
    task = RivalTask(train, dev, [TEXT], [TEAM], equal)
    with FakeEmbeddings() as fake:
        vectors = embed(fake, [task.row_text(row) for row in (*train, *dev, *test)])
    found = measure_rivals(train, dev, test, [TEXT], [TEAM], equal, vectors)
    assert list(found) == ["majority", "nearest", "bag_of_words", "embeddings"]
    assert mean_score(found["embeddings"]) == 1.0  # the letters of warm and cold tell them apart
    assert ANSWER.is_text and sum(map(len, fake.batches)) == 105
