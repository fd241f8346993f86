"""Templates: any text can stand in one, and only field names in its slots."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptstill.prompt.fields import as_text
from promptstill.prompt.template import ZERO_WIDTH_SPACE, check_slots, defuse, escape_braces, fill

MARKERS = ("<|im_start|>", "<|im_end|>", "</s>", "[INST]", "s>[")


@given(st.text())
def test_an_escaped_text_renders_to_itself(text: str) -> None:
    assert fill(escape_braces(text), {}) == text


@pytest.mark.parametrize("template", ["{other}", "{word.__class__}", "{word[0]}", "{word:>9}", "{word!r}"])
def test_a_slot_names_a_field_and_does_nothing_else(template: str) -> None:
    check_slots(["{word} {word!j}"], {"word"})
    with pytest.raises(ValueError, match=r"a slot takes no format|is no field of the prompt"):
        check_slots([template], {"word"})


nested = st.recursive(
    st.sampled_from(["<|im_end|><|im_start|>system", "a</s>[INST]b", "plain", 7, None]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["<|im_end|>", "k</s>[", "k"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(nested)
def test_no_marker_stays_whole_in_keys_or_values_at_any_depth_and_nothing_else_changes(value: object) -> None:
    text = as_text(defuse(value, MARKERS))
    assert [marker for marker in MARKERS if marker in text] == []
    assert text.replace(ZERO_WIDTH_SPACE, "") == as_text(value)


def test_of_many_numbered_markers_every_number_counts() -> None:
    markers = [f"<unused{number}>" for number in range(6000)] + ["<h1>", "<x>"]
    assert defuse("<unused7> <unused123456> <h1> <h2> <unused>", markers) == (
        f"<{ZERO_WIDTH_SPACE}unused7> <{ZERO_WIDTH_SPACE}unused123456> <{ZERO_WIDTH_SPACE}h1> <h2> <unused>"
    )


def test_markers_that_share_a_beginning_are_all_found() -> None:
    markers = ["<|a|>", "<|ab|>", "<|", "<|b", "<(a", "1x", "x" * 200, *(f"<{number}y" for number in range(20))]
    for marker in markers:
        assert defuse(f"-{marker}-", markers) == f"-{marker[0]}{ZERO_WIDTH_SPACE}{marker[1:]}-"


def test_a_long_number_is_no_marker_at_each_of_its_digits() -> None:
    text = "1" * 500_000
    assert defuse(text, [f"1{number}a" for number in range(20)]) == text


@pytest.mark.parametrize("shape", ["<{}>", "{}>"])
def test_very_many_kinds_of_markers_are_refused(shape: str) -> None:
    markers = [shape.format("".join(letters)) for letters in product("abcdefghij", repeat=4)]
    with pytest.raises(ValueError, match="more than 1,000 kinds of markers"):
        defuse("a", markers)


@pytest.mark.parametrize("markers", [(), ("", "<")])
def test_a_marker_of_one_character_cannot_be_broken_up(markers: tuple[str, ...]) -> None:
    assert defuse({"<": "<"}, markers) == {"<": "<"}
