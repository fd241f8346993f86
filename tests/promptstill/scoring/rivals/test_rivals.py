"""Rivals: what each predicts, by which rows it chooses, and that no odd data stops it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from promptstill.prompt.fields import Field
from promptstill.scoring.evaluate import ScoredRow, mean_score
from promptstill.scoring.rivals import RIVALS
from promptstill.scoring.rivals.kinds import commonest, middle, output_kind
from promptstill.scoring.rivals.measure import fit_rivals, measure_rivals
from promptstill.scoring.rivals.report import LABELS, SUBJECTS
from promptstill.scoring.rivals.task import RivalTask
from promptstill.task.examples import Example

TEXT = Field(name="text", type={"type": "string"})
ANSWER = Field(name="answer", type={"type": "string"})
TEAM = Field(name="team", type={"enum": ["red", "blue"]})
COUNT = Field(name="count", type={"type": "integer"})
TAGS = Field(name="tags", type={"type": "array", "items": {"type": "string"}})


def equal(example: Any, prediction: Any) -> float:
    """The share of the outputs that are right."""
    names = [name for name in example.keys() if name != "text"]  # noqa: SIM118 (a dspy.Example)
    return sum(bool(example[name] == prediction[name]) for name in names) / len(names)


def examples(rows: Sequence[Mapping[str, Any]], start: int = 0, group: str | None = None) -> list[Example]:
    made = []
    for number, row in enumerate(rows, start):
        inputs = {"text": row["text"]}
        outputs = {name: value for name, value in row.items() if name != "text"}
        made.append(Example(f"id{number}", f"row {number}", inputs, outputs, dict(row), group or f"g{number}"))
    return made


def colours(number_of_rows: int, start: int = 0, **more: Any) -> list[Example]:
    """Rows whose words tell the team: "warm" is red, "cold" is blue; 2 of 3 are red."""
    rows = []
    for number in range(start, start + number_of_rows):
        team = "blue" if number % 3 == 0 else "red"
        word = "cold" if team == "blue" else "warm"
        rows.append({"text": f"item {number} is {word} and {number % 7}", "team": team, **more})
    return examples(rows, start)


def measure(
    train: list[Example], dev: list[Example], test: list[Example], *outputs: Field
) -> dict[str, list[ScoredRow]]:
    return measure_rivals(train, dev, test, [TEXT], outputs, equal)


def test_words_that_tell_the_label_are_found_and_cost_nothing() -> None:
    found = measure(colours(60), colours(30, 60), colours(30, 90), TEAM)
    assert list(found) == ["majority", "nearest", "bag_of_words"]
    assert mean_score(found["majority"]) == pytest.approx(2 / 3)
    assert mean_score(found["bag_of_words"]) == 1.0
    row = found["bag_of_words"][0]
    assert (row.reply, row.outputs, row.score) == ("blue", {"team": "blue"}, 1.0)
    assert (row.prompt_tokens, row.completion_tokens, row.seconds, row.reason) == (0, 0, 0.0, None)
    assert [one.example.id for one in found["nearest"]] == [f"id{n}" for n in range(90, 120)]


def test_every_rival_has_its_words() -> None:
    assert RIVALS.keys() == LABELS.keys() == SUBJECTS.keys()


def test_settings_are_those_that_dev_scores_highest() -> None:
    train = examples([{"text": f"a b{n} c{n} d{n}", "team": "red" if n else "blue"} for n in range(6)])
    near = [{"text": f"a b0 e{n} f{n} g{n}", "team": team} for n, team in enumerate(["blue", "blue", "red"])]
    task = RivalTask(train, examples(near[:2], 10), [TEXT], [TEAM], equal)
    assert fit_rivals(task)["nearest"].settings == {"k": 1}  # the nearest row alone is blue
    others = RivalTask(train, examples(near[2:], 10), [TEXT], [TEAM], equal)
    assert fit_rivals(others)["nearest"].settings == {"k": 3}  # of k that do as well the smallest
    assert set(fit_rivals(task)["bag_of_words"].settings) == {"C"}


def twins(teams: Sequence[str], *, grouped: bool) -> list[Example]:
    """Two rows for each team that share a word with one another alone, in one group or in two."""
    made = []
    for number, team in enumerate(teams):
        rows = [{"text": f"common shared{number} own{number}{letter}", "team": team} for letter in "ab"]
        made += examples(rows, 2 * number, f"g{number}" if grouped else None)
    return made


@pytest.mark.parametrize(("grouped", "k"), [(True, 5), (False, 1)])
def test_where_dev_is_train_a_row_is_answered_without_its_group(grouped: bool, k: int) -> None:
    """Twins answer for each other unless they are one group. Without them the first rows are nearest, and they are
    blue, so that it takes five for red; and no C tells the teams apart, so that the first is taken."""
    train = twins(["blue"] + ["red"] * 6, grouped=grouped)
    task = RivalTask(train, train[::-1], [TEXT], [TEAM], equal)
    assert task.same_rows and fit_rivals(task)["nearest"].settings == {"k": k}
    mixed = twins(["red", "red", "blue"] * 4, grouped=grouped)
    c = fit_rivals(RivalTask(mixed, mixed[::-1], [TEXT], [TEAM], equal))["bag_of_words"].settings["C"]
    assert (c == 0.1) is grouped


def test_of_several_outputs_each_is_predicted_by_its_kind() -> None:
    train = colours(60, tags=["a"], count=3)
    for number, row in enumerate(train):
        row.outputs["count"] = number  # type: ignore[index]  # the maps of these examples are dicts
        row.outputs["tags"] = ["only", str(number)]  # type: ignore[index]  # as above
    test = colours(6, 90, tags=["a"], count=3)
    found = measure(train, colours(12, 60, tags=["a"], count=3), test, TEAM, COUNT, TAGS)
    task = RivalTask(train, [], [TEXT], [TEAM, COUNT, TAGS], equal)
    assert task.kinds == {"team": "label", "count": "number", "tags": "free"} and task.labels == ("team",)
    majority = found["majority"][0].outputs
    assert majority == {"team": "red", "count": 29, "tags": ["only", "0"]}
    words = [row.outputs for row in found["bag_of_words"]]
    nearest = [row.outputs for row in found["nearest"]]
    for one, other, row in zip(words, nearest, test, strict=True):
        assert one and other and one["team"] == row.outputs["team"]
        assert (one["count"], one["tags"]) == (other["count"], other["tags"])  # copied by the nearest rows
    fitted = fit_rivals(RivalTask(train, test, [TEXT], [TEAM, COUNT, TAGS], equal))
    assert set(fitted["bag_of_words"].settings) == {"C", "k"}


def test_free_text_is_copied_from_the_nearest_row() -> None:
    train = examples([{"text": f"which box holds thing{n} now", "answer": f"box {n}"} for n in range(20)])
    test = examples([{"text": "so which box was it that thing7 lay in", "answer": "box 7"}], 30)
    found = measure(train, train[:3], test, ANSWER)
    assert list(found) == ["majority", "nearest"]
    assert found["nearest"][0].reply == "box 7" and found["majority"][0].reply == "box 0"


def test_a_near_duplicate_of_the_input_does_not_vote() -> None:
    train = colours(30)
    twin = examples([{"text": train[4].inputs["text"], "team": "blue"}], 50)
    fitted = fit_rivals(RivalTask([*train, *twin], colours(9, 60), [TEXT], [TEAM], equal))
    assert fitted["nearest"].answer([train[4]]) == [{"team": "red"}]


@pytest.mark.parametrize(
    "rows",
    [
        [{"text": "a", "team": "red"}, {"text": "b", "team": "blue"}],
        [{"text": "a b", "team": "red"}] * 2,
        [{"text": "", "team": "red"}, {"text": " ", "team": "blue"}, {"text": "^", "team": "red"}],
        [{"text": "?!", "team": "red"}, {"text": "…", "team": "blue"}],
    ],
    ids=["two rows", "one label", "no words", "signs alone"],
)
@pytest.mark.parametrize("group", [None, "all one"])
def test_no_odd_rows_stop_a_rival(rows: list[dict[str, Any]], group: str | None) -> None:
    train = examples(rows, group=group)
    for dev in (train, examples(rows, 10)):
        found = measure(train, dev, examples([{"text": "", "team": "blue"}, {"text": "a", "team": "red"}], 20), TEAM)
        assert list(found) == ["majority", "nearest", "bag_of_words"]
        assert all(row.outputs and row.outputs["team"] in ("red", "blue") for rows in found.values() for row in rows)


@pytest.mark.parametrize(
    ("type_", "values", "kind"),
    [
        ({"enum": ["a", "b"]}, ["a"], "label"),
        ({"type": "boolean"}, [True, False], "label"),
        ({"type": "string"}, ["a", "b"] * 10, "label"),
        ({"type": "string"}, [f"a{n}" for n in range(20)], "free"),
        ({"type": "string"}, [f"a{n % 101}" for n in range(400)], "free"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, ["a", None] * 4, "label"),
        ({"type": "number"}, [1.0, 2.0] * 10, "number"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, [1, None, 2], "number"),
        ({"type": "array"}, [["a"]] * 9, "free"),
    ],
)
def test_which_outputs_are_labels(type_: dict[str, Any], values: list[Any], kind: str) -> None:
    assert output_kind(Field(name="x", type=type_), values) == kind


def test_the_middle_of_numbers_is_one_of_them_and_the_commonest_comes_first() -> None:
    assert middle([1, 4, 2, 3]) == 2 and middle([1.5]) == 1.5
    assert middle([None, None, 3]) is None and middle([None, 5]) == 5
    assert commonest(["b", "a", "a", "b"]) == "b" and commonest([{"x": 1}, ["y"], ["y"]]) == ["y"]
