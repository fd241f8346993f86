"""JSON from elsewhere: what Python's reader takes and the standard has not."""

from __future__ import annotations

import json

import pytest

from promptstill.strict_json import MAX_DEPTH, is_too_deep, parse_json


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, "é", null, true]}', "1e300", "-0.0", '"NaN"', "[" * 64 + "]" * 64])
def test_json_is_read_as_python_reads_it(text: str) -> None:
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1e999]", "1e999 is too large a number"),
        ('{"a": -1e999}', "-1e999 is too large a number"),
        ("NaN", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("[" * 65 + "]" * 65, "nested too deeply"),
        ('{"a":' * 600 + "1" + "}" * 600, "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_json_or_too_deep_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_the_depth_of_a_python_value_counts_lists_tuples_and_objects() -> None:
    deep: object = 1
    for _ in range(MAX_DEPTH):
        deep = (deep,)
    assert not is_too_deep(deep)
    assert is_too_deep({"a": [deep]})
