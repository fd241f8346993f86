"""Power: how often the rule finds a true gain, and how many rows an open question needs."""

from __future__ import annotations

import numpy as np
import pytest

from promptstill.power import MOST_ROWS, power, power_line, rows_to_settle, settle_note
from promptstill.stats import Gain, gain


def drawn(rows: int, won: float, lost: float, sims: int) -> np.ndarray:
    """Paired differences of answers that are right or wrong, (sims, rows)."""
    at = np.random.default_rng(1).random((sims, rows))
    return (at < won).astype(float) - (at > 1 - lost)


@pytest.mark.parametrize(("rows", "times"), [(12, 1), (40, 1), (40, 5), (150, 2)])
def test_it_is_the_share_of_runs_in_which_the_rule_itself_finds_the_gain(rows: int, times: int) -> None:
    found = [gain(row, [0.0] * rows, 0).holds(times) for row in drawn(rows, 0.25, 0.05, 800)]
    assert power(rows, 0.2, 0.3, times) == pytest.approx(np.mean(found), abs=0.05)


def test_it_grows_with_rows_and_gain_and_shrinks_with_disagreement_and_use() -> None:
    assert power(20, 0.2) < power(50, 0.2) < power(100, 0.2) and power(50, 0.1) < power(50, 0.2) < power(50, 0.3)
    assert power(50, 0.2, 0.5) < power(50, 0.2, 0.3) and power(50, 0.2, times=5) < power(50, 0.2)
    assert power(4, 1.0) == 0.0 and power(5, 1.0, 1.0) == 0.0, "below six wins no sign test can tell"
    assert power(50, 0.0) <= 0.025


def test_the_rows_that_settle_a_question_give_the_power_that_is_wanted() -> None:
    rows = rows_to_settle(0.12, 0.5)
    assert rows and power(rows, 0.12, 0.12**2 + 0.25) >= 0.8 > power(round(0.8 * rows), 0.12, 0.12**2 + 0.25)
    assert 115 < rows < 160  # (1.96 + 0.84)² · (0.5 / 0.12)² = 136
    graded = rows_to_settle(0.024, 0.1)
    assert graded and abs(graded - rows) < 0.2 * rows, "only the ratio of gain to spread counts"
    more = rows_to_settle(0.12, 0.5, 5)
    assert more and more > rows and rows_to_settle(0.001, 0.5) is None


def test_what_is_said_before_and_after_a_run() -> None:
    assert power_line(12).startswith("with 12 test rows a true gain of 20 points is found ")
    assert power_line(12).endswith(" times of 100, if the two prompts answer 30 % of the rows differently")
    alone, folded = (int(power_line(40, folds=folds).split("found ")[1].split()[0]) for folds in (False, True))
    assert folded < alone < 100 and "found more than 99 times" in power_line(1000)
    open_question = Gain(0.12, -0.03, 0.27, 0.15, 40, 40.0, 0.5)
    said = settle_note(open_question)
    assert said.startswith("About ") and said.endswith(
        " more labelled test rows would settle it, if the true gain is the +12.0 points seen here."
    )
    assert settle_note(Gain(0.12, 0.03, 0.27, 0.01, 40, 40.0, 0.5)) == "", "it is settled"
    assert settle_note(Gain(-0.12, -0.3, 0.03, 0.1, 40, 40.0, 0.5)) == "", "there is no gain to settle"
    assert f"more than {MOST_ROWS:,} test rows" in settle_note(Gain(0.001, -0.1, 0.1, 0.9, 40, 40.0, 0.5))
    giant = settle_note(Gain(0.3, -0.03, 0.6, 0.01, 100, 2.0, 0.3))
    assert giant.startswith("About 150 more"), "rows of as few groups as these must also make five"


@pytest.mark.parametrize("spread", [0.05, 0.4, 2.0])
@pytest.mark.parametrize("seen", [0.02, 0.12, 0.3, 0.7, 1.0])
def test_any_gain_and_spread_has_an_answer(seen: float, spread: float) -> None:
    rows = rows_to_settle(seen, spread)
    assert rows is None or 6 <= rows <= MOST_ROWS
