"""Values of every type as text, and back."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptstill import ReplyError
from promptstill.prompt.fields import Field
from promptstill.prompt.reply import ReplyFormat
from tests.support.tasks import SORT

FIELDS = {field.name: field for field in SORT.outputs}


@settings(deadline=None)  # the first value loads jsonschema
@given(st.sampled_from([True, False]), st.integers(-(10**12), 10**12), st.text(st.characters(exclude_characters="\n")))
def test_typed_values_survive_text(urgent: bool, count: int, note: str) -> None:
    assert FIELDS["urgent"].parse(str(urgent)) is urgent
    assert FIELDS["count"].parse(str(count)) == count
    assert FIELDS["tags"].parse(json.dumps([note])) == [note]


def test_a_date_is_a_day_of_the_calendar() -> None:
    assert FIELDS["seen"].parse(" 2028-02-29. ") == "2028-02-29" and FIELDS["due"].parse("None") is None
    for text in ("2027-02-29", "29.02.2028", "2028-2-9", "soon", "20280229", "2028-W09-2", "None"):
        with pytest.raises(ReplyError):
            FIELDS["seen"].parse(text)
    for text in ("2028-02-29", "2028-13-01", "2028-02-40"):
        assert bool(re.fullmatch(str(FIELDS["seen"].regex), text)) is (text == "2028-02-29")
    assert re.fullmatch(str(FIELDS["due"].regex), "None")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("weight", "1e999"),
        ("tags", "[1e999]"),
        ("tags", "[NaN]"),
        ("tags", "[" * 600 + "]" * 600),
        ("tags", "[" * 9999),
    ],
)
def test_no_reply_is_read_as_what_json_has_not(name: str, text: str) -> None:
    with pytest.raises(ReplyError, match=r"too large a number|is not JSON"):
        FIELDS[name].parse(text)


@pytest.mark.parametrize("text", ['{"count": 1e999}', '{"count": NaN}', '{"a": ' * 600 + "1" + "}" * 600])
def test_no_object_in_a_reply_is_read_as_what_json_has_not(text: str) -> None:
    with pytest.raises(ReplyError, match="no JSON object"):
        ReplyFormat(style="json").read(SORT.outputs, text)


def test_a_long_reply_of_digits_is_read_in_linear_time() -> None:
    for text in ("1" * 100_000 + "x", "-" + "1" * 50_000 + "." + "1" * 50_000 + "x"):
        with pytest.raises(ReplyError, match="is not a number"):
            FIELDS["weight"].parse(text)
    assert [FIELDS["weight"].parse(text) for text in ("-1.5e3.", ".5", "1,000", "7")] == [-1500.0, 0.5, 1000.0, 7.0]


def test_a_message_names_only_the_first_of_very_many_choices() -> None:
    field = Field(name="city", type={"enum": [f"city {number}" for number in range(50_000)]})
    with pytest.raises(ReplyError, match=r"^city: 'x' is none of city 0, city 1, .*…$") as refused:
        field.parse("x")
    assert len(str(refused.value)) < 2_100
