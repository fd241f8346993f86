"""Which demos are picked for an input."""

from __future__ import annotations

from promptstill.prompt.nearest import NearestIndex

POOL = (
    {"context": "a b c d e f g h i j k l", "question": "one", "answer": "copy"},
    {"context": "a b c d e f g h i j k m", "question": "one", "answer": "near"},
    {"context": "x y z", "question": "one", "answer": "far"},
)


def test_a_row_is_never_its_own_demo_nor_is_a_near_duplicate() -> None:
    index = NearestIndex(POOL, ["context", "question"], ["context", "question"])
    picked = index.pick({"context": POOL[0]["context"], "question": "one"}, 2)
    assert [row["answer"] for row in picked] == ["far"]


def test_the_nearest_comes_last() -> None:
    index = NearestIndex(POOL, ["context"], ["context", "question"])
    assert index.pick({"context": "c a b", "question": "?"}, 3)[0]["answer"] == "far"
    assert len(index.pick({"context": "c a b", "question": "?"}, 2)) == 2
