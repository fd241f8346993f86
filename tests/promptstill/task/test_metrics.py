"""What every ready-made metric must do, tried on each that promptstill exports; and what each of them counts."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import promptstill
from promptstill import UserError, contains, exact_match, set_f1, token_f1
from promptstill.task.examples import Example
from promptstill.task.metrics import MetricResult, apply_metric
from promptstill.task.recipe import Metric

MakeMetric = Callable[..., Metric]
METRICS: dict[str, MakeMetric] = {
    name: getattr(promptstill, name)
    for name in promptstill.__all__
    if inspect.isfunction(make := getattr(promptstill, name)) and "accepted" in inspect.signature(make).parameters
}
each = pytest.mark.parametrize("make", METRICS.values(), ids=METRICS)
GOLDS = ["mill", "The old mill!", "two\nlines", "Ünïcode ☃ 漢字", "3", 3, -1.5, True, False, None]
GOLDS += [["mill"], ["mill", "harbour"], {"place": ["mill"]}]
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def score(metric: Metric, gold: Any, predicted: Any) -> float:
    """The metric's value for a row whose output `answer` is typed, as a search calls it."""
    row = {"question": "q", "answer": gold}
    example = Example("id", "row 1", {"question": "q"}, {"answer": gold}, row, "q")
    return apply_metric(metric, example, {"answer": predicted}).score


def test_every_exported_metric_is_found() -> None:
    assert {"exact_match", "token_f1", "contains", "set_f1"} <= METRICS.keys()


@each
@pytest.mark.parametrize("gold", GOLDS, ids=repr)
def test_the_gold_itself_scores_in_full(make: MakeMetric, gold: Any) -> None:
    assert score(make("answer"), gold, gold) == 1.0


@each
@settings(max_examples=60, deadline=None)  # the first score loads DSPy
@given(gold=ANYTHING, predicted=ANYTHING)
def test_any_prediction_has_one_score_from_0_to_1(make: MakeMetric, gold: Any, predicted: Any) -> None:
    first, again = (score(make("answer"), gold, predicted) for _ in range(2))
    assert first == again and 0.0 <= first <= 1.0 and math.isfinite(first)


@each
def test_a_wrong_answer_scores_less_than_the_right_one(make: MakeMetric) -> None:
    assert score(make("answer"), "mill", "harbour") < 1.0 and score(make("answer"), "mill", "") < 1.0


@each
@pytest.mark.parametrize("answers", [["one", "two"], ["two"], "two"])
def test_the_best_of_the_gold_and_the_accepted_answers_counts(make: MakeMetric, answers: Any) -> None:
    metric = make("answer", accepted="answers")
    example = Example("id", "row 1", {}, {"answer": "one"}, {"answer": "one", "answers": answers}, "q")
    assert [apply_metric(metric, example, {"answer": text}).score for text in ("one", "Two.", "three")] == [
        1.0,
        1.0,
        0.0,
    ]


@each
def test_a_gold_list_is_one_answer(make: MakeMetric) -> None:
    assert score(make("answer"), ["one", "two"], "one") < 1.0


@pytest.mark.parametrize(
    ("predicted", "exact", "f1", "contained"),
    [
        (["The mill", "harbour"], 1.0, 1.0, 1.0),
        (["harbour", "mill", "harbour"], 1.0, 1.0, 1.0),
        (["mill"], 0.0, 2 / 3, 0.0),
        (["mill", "harbour", "quay"], 0.0, 0.8, 1.0),
        ([], 0.0, 0.0, 0.0),
        (["+"], 0.0, 0.0, 0.0),
    ],
)
def test_a_list_is_compared_as_a_set(predicted: list[str], exact: float, f1: float, contained: float) -> None:
    scores = [score(make("answer"), ["mill", "harbour"], predicted) for make in (exact_match, set_f1, contains)]
    assert scores == [exact, pytest.approx(f1), contained]


def test_an_empty_list_is_right_where_the_gold_list_is_empty() -> None:
    for make in (exact_match, set_f1, contains):
        assert [score(make("answer"), [], predicted) for predicted in ([], ["mill"])] == [1.0, 0.0]


@each
def test_a_prediction_without_the_field_is_an_error_that_names_metric_and_row(make: MakeMetric) -> None:
    example = Example("id", "rows.jsonl, line 7", {}, {"answer": "a"}, {"answer": "a"}, "q")
    metric = make("answer")
    with pytest.raises(UserError, match=r"raised KeyError on rows\.jsonl, line 7") as caught:
        apply_metric(metric, example, {"other": "a"})
    assert metric.__name__ == f"{make.__name__}(answer)" and metric.__name__ in caught.value.what


@pytest.mark.parametrize(
    ("value", "feedback"),
    [
        (0.5, ""),
        ((0.5, "half of it"), "half of it"),
        ((0.5, None), ""),
        (dspy.Prediction(score=0.5, feedback="half of it"), "half of it"),
        (dspy.Prediction(score=0.5), ""),
        (SimpleNamespace(score=0.5, feedback="half of it"), "half of it"),
    ],
)
def test_a_metric_may_say_why(value: Any, feedback: str) -> None:
    example = Example("id", "row 1", {}, {"answer": "a"}, {"answer": "a"}, "q")
    assert apply_metric(lambda gold, prediction: value, example, {}) == MetricResult(0.5, feedback)


@pytest.mark.parametrize("value", [2, (2, "why"), (0.5, 7), (0.5, "a", "b"), SimpleNamespace(score=None), None, "1"])
def test_any_other_value_is_refused(value: Any) -> None:
    example = Example("id", "rows.jsonl, line 7", {}, {"answer": "a"}, {"answer": "a"}, "q")
    with pytest.raises(UserError, match=r"returned .* on rows\.jsonl, line 7") as caught:
        apply_metric(lambda gold, prediction: value, example, {})
    assert "(score, feedback)" in caught.value.do


@pytest.mark.parametrize(
    ("predicted", "exact", "f1", "contained"),
    [("The mill!", 1.0, 1.0, 1.0), ("the old mill", 0.0, 2 / 3, 1.0), ("milling", 0.0, 0.0, 0.0), ("", 0.0, 0.0, 0.0)],
)
def test_text_is_normalized_as_for_squad(predicted: str, exact: float, f1: float, contained: float) -> None:
    example, prediction = {"answer": "mill"}, {"answer": predicted}
    assert exact_match("answer")(example, prediction) == exact
    assert token_f1("answer")(example, prediction) == pytest.approx(f1)
    assert contains("answer")(example, prediction) == contained
