"""Where labels part, and where one bias for each token cannot tell them apart."""

from __future__ import annotations

import pytest

from promptstill.endpoint.tokenize import Tokens
from promptstill.scoring.calibration import NoCalibration
from promptstill.scoring.calibration.forks import Branch, Fork, find_forks

IDS: dict[str, int] = {}


def tokens(*parts: str) -> Tokens:
    return Tokens(tuple(IDS.setdefault(part, len(IDS)) for part in parts), parts)


def ids(*parts: str) -> tuple[int, ...]:
    return tokens(*parts).ids


def branch(part: str, *labels: int) -> Branch:
    return Branch(ids(part)[0], labels)


def test_labels_of_different_first_tokens_part_there() -> None:
    forks = find_forks([tokens("yes"), tokens("no", "pe")], alone=True)
    assert forks == [Fork((), (branch("yes", 0), branch("no", 1)))]


def test_what_stands_before_every_label_is_the_way_there() -> None:
    forks = find_forks([tokens("Team", ":", " a"), tokens("Team", ":", " b")], alone=False)
    assert forks == [Fork(ids("Team", ":"), (branch(" a", 0), branch(" b", 1)))]


def test_labels_with_the_same_first_token_part_behind_it() -> None:
    forks = find_forks([tokens("very", " good"), tokens("fair"), tokens("very", " bad")], alone=True)
    assert forks == [
        Fork((), (branch("very", 0, 2), branch("fair", 1))),
        Fork(ids("very"), (branch(" good", 0), branch(" bad", 2))),
    ]
    assert [fork.labels for fork in forks] == [(0, 2, 1), (0, 2)]


def test_a_first_token_that_begins_another_label_is_followed_to_its_own() -> None:
    labels = [tokens("b", "ill", "ing"), tokens("bug"), tokens("sales")]
    forks = find_forks(labels, alone=True)
    assert forks == [
        Fork((), (branch("b", 0), branch("bug", 1), branch("sales", 2))),
        Fork(ids("b"), (branch("ill", 0),), contested=True),
    ]
    assert [fork.parts for fork in forks] == [True, False]
    with pytest.raises(NoCalibration, match="also begins another"):
        find_forks(labels, alone=False)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([tokens("card"), tokens("card", " lost")], "one label begins another"),
        ([tokens("card"), tokens("cards")], "one label begins another"),
        ([tokens("a", " x"), tokens("a", " y"), tokens("b", " x"), tokens("b", " y")], "at two places"),
        ([tokens(f"{n}-", f"{n}{end}") for n in range(9) for end in "xy"], "at more than 8 places"),
        ([tokens(*["a"] * 49, end) for end in "xy"], "more than 48 tokens stand before"),
    ],
)
def test_what_a_static_bias_cannot_tell_apart_is_refused(labels: list[Tokens], reason: str) -> None:
    with pytest.raises(NoCalibration, match=reason):
        find_forks(labels, alone=True)
