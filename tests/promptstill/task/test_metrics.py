"""The ready-made metrics, and several accepted answers."""

from __future__ import annotations

import pytest

from promptstill import contains, exact_match, token_f1


@pytest.mark.parametrize(
    ("predicted", "exact", "f1", "contained"),
    [("The mill!", 1.0, 1.0, 1.0), ("the old mill", 0.0, 2 / 3, 1.0), ("milling", 0.0, 0.0, 0.0), ("", 0.0, 0.0, 0.0)],
)
def test_text_is_normalized_as_for_squad(predicted: str, exact: float, f1: float, contained: float) -> None:
    example, prediction = {"answer": "mill"}, {"answer": predicted}
    assert exact_match("answer")(example, prediction) == exact
    assert token_f1("answer")(example, prediction) == pytest.approx(f1)
    assert contains("answer")(example, prediction) == contained


@pytest.mark.parametrize("example", [{"answer": ["one", "two"]}, {"answer": "one", "answers": ["one", "two"]}])
def test_the_best_of_several_accepted_answers_counts(example: dict[str, object]) -> None:
    accepted = "answers" if "answers" in example else None
    for metric in (exact_match, token_f1, contains):
        assert metric("answer", accepted=accepted)(example, {"answer": "Two."}) == 1.0
        assert metric("answer", accepted=accepted)(example, {"answer": "three"}) == 0.0


def test_typed_values_are_compared_as_text() -> None:
    assert exact_match("count")({"count": 3}, {"count": 3}) == 1.0
    assert exact_match("count").__name__ == "exact_match(count)"
