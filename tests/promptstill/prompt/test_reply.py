"""Replies that the user says how to read: by a pattern, or by paths into their JSON."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from promptstill.errors import ReplyError
from promptstill.prompt.fields import Field
from promptstill.prompt.reply import ReplyFormat, path_steps

TEAM, NOTE = Field(name="team", type={"enum": ["bug", "sales"]}), Field(name="note", type={"type": "string"})


def by_paths(**paths: str) -> ReplyFormat:
    return ReplyFormat(style="path", paths=paths)


@pytest.mark.parametrize(
    ("pattern", "reply", "found"),
    [
        (r"Team: (\w+)", "I think.\nTeam: bug\n", {"team": "bug"}),
        (r"<team>(.*?)</team>", "<team> sales </team>", {"team": "sales"}),
        (r"(?P<note>.*)\nTeam: (?P<team>\w+)", "as it says\nTeam: bug", {"note": "as it says", "team": "bug"}),
        (r"Team: (?P<team>\w+)(?: \((?P<note>.*)\))?", "Team: bug", {"team": "bug"}),
    ],
)
def test_a_pattern_reads_its_groups(pattern: str, reply: str, found: dict[str, str]) -> None:
    outputs = [TEAM] if "note" not in pattern else [TEAM, NOTE]
    form = ReplyFormat(style="pattern", pattern=pattern)
    form.check(outputs)
    assert form.read(outputs, reply) == found
    assert form.finds(outputs, reply) == (len(found) == len(outputs))
    with pytest.raises(ReplyError, match="does not match"):
        form.read(outputs, "team bug")


@pytest.mark.parametrize("pattern", [r"Team: \w+", r"(\w+) (\w+)", r"(?P<other>\w+)"])
def test_a_pattern_needs_a_group_for_each_output(pattern: str) -> None:
    with pytest.raises(ValueError, match="one pair of brackets"):
        ReplyFormat(style="pattern", pattern=pattern).check([TEAM])


@pytest.mark.parametrize(
    ("path", "reply", "value"),
    [
        ("$.result.label", 'Here: {"result": {"label": "bug"}} as asked', "bug"),
        ("result.labels[1]", '```json\n{"result": {"labels": ["a", "b"]}}\n```', "b"),
        ("$[0].label", '[{"label": "bug"}]', "bug"),
        ('$["odd key"].n', '{"odd key": {"n": 3}}', 3),
        ("$.a", '{no json} {"a": null}', None),
    ],
)
def test_a_path_reads_a_value(path: str, reply: str, value: Any) -> None:
    assert by_paths(team=path).read([TEAM], reply) == {"team": value}


@pytest.mark.parametrize("reply", ['{"result": []}', '{"other": 1}', '{"result": {"label": ', "none", "{" * 100])
def test_what_is_not_there_is_not_found(reply: str) -> None:
    assert not by_paths(team="$.result.label").finds([TEAM], reply)


@pytest.mark.parametrize("path", ["", "$..a", "$.a[*]", "$.a[?(@.b)]", "a b", "$.a[-1]", "x" * 201])
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="no path of keys and indexes"):
        path_steps(path)
    with pytest.raises(ValidationError):
        by_paths(team=path)


def test_there_is_one_path_for_each_output() -> None:
    by_paths(team="a", note="b").check([TEAM, NOTE])
    with pytest.raises(ValueError, match="one path for each of team, note"):
        by_paths(team="a").check([TEAM, NOTE])
