"""Templates: any text can stand in one, and only field names in its slots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptstill.prompt.template import check_slots, escape_braces, fill


@given(st.text())
def test_an_escaped_text_renders_to_itself(text: str) -> None:
    assert fill(escape_braces(text), {}) == text


@pytest.mark.parametrize("template", ["{other}", "{word.__class__}", "{word[0]}", "{word:>9}", "{word!r}"])
def test_a_slot_names_a_field_and_does_nothing_else(template: str) -> None:
    check_slots("{word} {word!j}", {"word"})
    with pytest.raises(ValueError, match=r"a slot takes no format|is no field of the prompt"):
        check_slots(template, {"word"})
