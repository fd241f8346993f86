"""What is said of rivals: nothing where the gain over the best of them is clear, else how they do."""

from __future__ import annotations

import pytest

from promptstill.scoring.compare import Marks
from promptstill.scoring.rivals.measure import score_outputs
from promptstill.scoring.rivals.report import RivalReport, RivalResult, compare_rivals, rival_note
from promptstill.task.examples import Example


def exact(example: object, prediction: object) -> float:
    return float(example["team"] == prediction["team"])  # type: ignore[index]  # DSPy's examples, which have no types


def result(right: int, rows: int = 100) -> RivalResult:
    """A rival that is right on the last rows, where `scores` are on the first."""
    made = []
    for number in range(rows):
        row = Example(f"id{number}", "", {"text": "t"}, {"team": "red"}, {"text": "t", "team": "red"}, f"g{number}")
        made.append(score_outputs(row, {"team": "red" if number >= rows - right else "blue"}, exact))
    return RivalResult(made, {"k": 3})


def scores(right: int) -> Marks:
    return Marks([1.0] * right + [0.0] * (100 - right), list(map(str, range(100))))


@pytest.mark.parametrize(
    ("winner", "rivals", "note"),
    [
        (80, {"majority": 20, "bag_of_words": 40}, ""),
        (
            28,
            {"majority": 10, "bag_of_words": 33},
            "A bag of words does as well here (33.0 against 28.0): you may need",
        ),
        (30, {"nearest": 30}, "The answer of the nearest train rows does as well here (30.0 against 30.0)"),
        (30, {"majority": 29}, "The same answer to every row is not clearly worse here (29.0 against 30.0)"),
        (
            20,
            {"majority": 10, "embeddings": 70},
            "A classifier on embeddings does better here (70.0 against 20.0): you may need no language model",
        ),
    ],
)
def test_the_best_rival_is_named_where_the_gain_over_it_is_not_clear(
    winner: int, rivals: dict[str, int], note: str
) -> None:
    reports = compare_rivals(scores(winner), {name: result(right) for name, right in rivals.items()}, 0)
    said = rival_note(winner / 100, reports)
    assert said.startswith(note) and bool(said) == bool(note)
    for name, right in rivals.items():
        assert reports[name].score.mean == pytest.approx(right / 100)
        assert reports[name].gain.mean == pytest.approx((winner - right) / 100)


def test_without_rivals_nothing_is_said() -> None:
    assert rival_note(0.1, {}) == ""


def test_a_report_is_read_back_from_json_without_its_rows() -> None:
    (report,) = compare_rivals(scores(50), {"nearest": result(40)}, 0).values()
    read = RivalReport.from_json(report.to_json())
    assert (read.score, read.gain, read.settings) == (report.score, report.gain, {"k": 3})
    assert len(report.results) == 100 and read.results == ()
