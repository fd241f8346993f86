"""Which demos are picked for an input."""

from __future__ import annotations

import pytest

from promptstill.prompt.nearest import MOST_CHARACTERS, NearestIndex, near_duplicate, words

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


def test_only_the_beginning_of_a_long_value_is_compared() -> None:
    index = NearestIndex(POOL, ["context"], ["context", "question"])
    pad = "v " * (MOST_CHARACTERS // 2)
    assert index.pick({"context": "x y " + pad, "question": "?"}, 1)[0]["answer"] == "far"
    later, never = ({"context": pad + end, "question": "?"} for end in ("x y z x y z", ""))
    assert index.pick(later, 3) == index.pick(never, 3)


@pytest.mark.parametrize(("letter", "count"), [("a", 10**7), ("日", 10**6)])
def test_a_long_text_without_a_space_is_compared(letter: str, count: int) -> None:
    long = words(letter * count)
    assert near_duplicate(long, words(letter * count)) and not near_duplicate(long, words(letter * count + "b"))
