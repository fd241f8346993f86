"""Word differences lose no character."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from promptstill.prompt.layouts.build import build_prompt
from promptstill.report.diff import MAX_WORDS, prompt_text, word_diff
from tests.support.tasks import ANSWER, DEMO_POLICIES


@given(st.text(alphabet="ab \n", max_size=60), st.text(alphabet="ab \n", max_size=60))
def test_no_character_is_lost(before: str, after: str) -> None:
    pieces = word_diff(before, after)
    assert "".join(text for kind, text in pieces if kind != "gone") == after
    assert "".join(text for kind, text in pieces if kind != "new") == before


def test_very_long_texts_are_not_compared() -> None:
    long = "word " * MAX_WORDS
    assert word_diff("a", long) == [("new", long)]
    assert word_diff(long, long) == [("same", long)]


def test_a_prompt_as_text_shows_where_its_inputs_and_demos_stand() -> None:
    text = prompt_text(build_prompt(ANSWER, "chat", "Do {this}.", DEMO_POLICIES["nearest"], k=2))
    assert text.startswith("[system]\nDo {this}.") and "[user]\n{demos}" in text
    assert text.endswith("[user]\nContext: {context}\nQuestion: {question}")
