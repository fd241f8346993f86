"""Counts, lists and durations as messages write them."""

from __future__ import annotations

from promptstill.text import duration, one_of, p_text, plural


def test_counts_have_their_noun() -> None:
    assert (plural(1, "layout"), plural(1200, "row"), plural(0, "row")) == ("1 layout", "1,200 rows", "0 rows")


def test_durations_are_in_seconds_or_minutes() -> None:
    assert (duration(12.3), duration(89.9), duration(150)) == ("12 s", "90 s", "2 min")


def test_choices_are_listed() -> None:
    assert (one_of(["a"]), one_of(["a", "b", "c"])) == ("a", "a, b or c")


def test_a_p_value_is_never_shown_as_zero() -> None:
    assert (p_text(0.03125), p_text(0.00005), p_text(0.00001)) == ("p = 0.0312", "p = 0.0001", "p < 0.0001")
