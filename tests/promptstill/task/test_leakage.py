"""The leak check: what is a leak and what is not, in one input and in several, and how it scales."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptstill import UserError, read_jsonl
from promptstill.task.examples import Example
from promptstill.task.leakage import (
    LEAK_SIMILARITY,
    Column,
    find_leaks,
    leak_warnings,
    leave_out_leaks,
    shingles,
)
from promptstill.task.splits import Splits
from tests.support import ROOT

PASSAGE = (
    "The mill at Arden was built of oak in 1742 by two brothers who had quarrelled with the abbot over a weir " * 4
)
LONG = (
    "In which year did the younger of the two brothers who built the mill at Arden sell his half of it to the abbot "
    "with whom both of them had quarrelled over the weir"
)


def row(number: int, label: str = "x", **inputs: Any) -> Example:
    return Example(f"id{number}", f"line {number}", inputs, {"answer": label} if label else {}, inputs, f"id{number}")


def leaks(train: dict[str, Any], held_out: dict[str, Any]) -> bool:
    return bool(find_leaks([row(1, **train)], [row(2, **held_out)]))


SAME = [
    ("What is the HIGHEST Roman numeral ?", "What is the highest Roman numeral?"),
    ("income of Colombia , South America ?", "Income of Colombia, South America, ?"),
    (LONG, LONG.replace("younger", "elder")),
    (PASSAGE + "once", PASSAGE + "twice"),
    (
        "水車小屋は千七百四十二年に二人の兄弟が建てた樫の木の小屋である。",
        "水車小屋は千七百四十二年に二人の兄弟が建てた樫の木の小屋である",
    ),
    ("", ""),
]
OTHER = [
    (
        "Where can I find the history of the Taiwanese language ?",
        "Where can I find the history of the Hungarian language ?",
    ),
    ("Who was the 3rd president of the United States ?", "Who was the 16th President of the United States ?"),
    ("What does the E stand for in the equation E=mc2 ?", "What does the `` c '' stand for in the equation E=mc2 ?"),
    ("2 + 3", "2 - 3"),
    ("C", "C++"),
    ("good", "bad"),
    ("", "word"),
    ("水車小屋は誰が建てたか", "水車小屋は何年に建てられたか"),
]


@pytest.mark.parametrize(("left", "right"), SAME)
def test_one_field_nearly_equal_leaks(left: str, right: str) -> None:
    assert leaks({"text": left}, {"text": right}) and leaks({"text": right}, {"text": left})


@pytest.mark.parametrize(("left", "right"), OTHER)
def test_one_field_that_asks_something_else_does_not(left: str, right: str) -> None:
    assert not leaks({"text": left}, {"text": right})


def test_every_field_must_be_near() -> None:
    ask = {"context": PASSAGE, "question": "Who built the mill?"}
    assert leaks(ask, ask | {"question": "who built the mill"})
    assert leaks(ask, ask | {"context": PASSAGE + "again"})
    assert not leaks(ask, ask | {"question": "When was the mill built?"}), "one passage, another question"
    assert not leaks(ask, ask | {"context": LONG}), "one question, another passage"
    assert not leaks({"count": 3, "text": PASSAGE}, {"count": 4, "text": PASSAGE}), "a number is equal or is not"
    assert leaks({"count": 3, "text": PASSAGE}, {"count": 3, "text": PASSAGE + "again"})


def test_the_words_of_a_form_do_not_count() -> None:
    form = " ".join(f"rule{number}" for number in range(60)) + " : "
    subjects = [
        f"{a} {b}" for a in ("bill", "road", "tree", "dog", "noise", "tax") for b in ("late", "lost", "high", "new")
    ]
    held_out = [row(n, text=form + subject) for n, subject in enumerate(subjects)]
    assert not find_leaks([row(99, text=form + "bin stolen")], held_out)
    assert find_leaks([row(99, text=form + "Tree lost!")], held_out)[0].held_out.inputs["text"].endswith("tree lost")


def test_a_warning_names_the_number_and_the_worst_pair_and_leaks_are_left_out_of_train_alone() -> None:
    train = [row(1, text="What is it ?"), row(2, text="fine"), row(3, text=PASSAGE + "once")]
    splits = Splits(train, [row(11, text=PASSAGE + "twice")], [row(12, text="what is it")], [], 0)
    assert leak_warnings(splits) == [
        "2 of 3 train rows nearly equal a dev or test row: line 1 (train) has the same inputs as line 12 (test). "
        "Scores may be too high; --drop-leaks leaves such rows out"
    ]
    kept = leave_out_leaks(splits)
    assert (kept.train, kept.dev, kept.test) == ([train[1]], splits.dev, splits.test)
    assert kept.digests() == splits.digests(), "best.json states the recipe's rows, whatever was left out"
    assert leak_warnings(kept) == []
    with pytest.raises(UserError, match="Every train row leaks"):
        leave_out_leaks(replace(splits, train=[train[0]]))


def test_the_shipped_rows_pass_even_where_passages_are_shared() -> None:
    rows = read_jsonl(ROOT / "recipes" / "data" / "qa.jsonl")
    examples = [row(n, context=one["context"], question=one["question"]) for n, one in enumerate(rows)]
    random.Random(0).shuffle(examples)
    held_out = examples[:250]
    assert len({one.inputs["context"] for one in held_out} & {one.inputs["context"] for one in examples[250:]}) > 50
    assert not find_leaks(examples[250:], held_out)
    assert len(find_leaks(held_out[:7], held_out)) == 7


words = st.lists(st.sampled_from("abcdefgh"), max_size=40).map(" ".join)


@settings(deadline=None)
@given(left=words, right=words)
def test_similarity_is_a_symmetric_share(left: str, right: str) -> None:
    column = Column([])
    similarity = column.similarity(left, right)
    assert 0 <= similarity <= 1 and similarity == column.similarity(right, left)
    assert (similarity == 1) == (shingles(left) == shingles(right))


@settings(deadline=None)
@given(rows=st.lists(words, min_size=1, max_size=8), held_out=st.lists(words, min_size=1, max_size=8))
def test_what_is_found_is_what_comparing_all_pairs_finds(rows: list[str], held_out: list[str]) -> None:
    column = Column(held_out)
    expected = [text for text in rows if any(column.similarity(text, other) >= LEAK_SIMILARITY for other in held_out)]
    found = find_leaks([row(n, text=text) for n, text in enumerate(rows)], [row(9, text=text) for text in held_out])
    assert [leak.row.inputs["text"] for leak in found] == expected


def test_it_scales() -> None:
    """A tenth of 50,000 rows against 5,000: well under a second a thousand rows, though all share a form's words."""
    chance = random.Random(0)
    vocabulary = [f"w{n}" for n in range(3000)]
    texts = [
        "please answer the following letter : " + " ".join(chance.choices(vocabulary, k=12)) for _ in range(10_000)
    ]
    rows = [row(n, text=text) for n, text in enumerate(texts)]
    begun = time.process_time()
    assert not find_leaks(rows[:5000], rows[5000:])
    assert time.process_time() - begun < 15


@pytest.mark.parametrize(("letter", "count"), [("a", 10**7), ("日", 10**5)])
def test_a_text_without_a_space_leaks_where_it_is_the_same(letter: str, count: int) -> None:
    text = letter * count
    assert leaks({"q": text}, {"q": text}) and not leaks({"q": "b" + text[:9]}, {"q": text})
