"""What a run will cost at most and what its dev rows can tell, said before anything is paid."""

from __future__ import annotations

from collections.abc import Iterator

from optimizer.search.playoff import MAX_CONTENDERS
from optimizer.search.race import blocks
from promptstill.errors import UserError
from promptstill.scoring.probe import Abilities
from promptstill.stats import detectable_gain
from promptstill.task.splits import Splits
from promptstill.text import plural

TEST_PASSES = 4  # baseline, winner, DSPy's default and its second try, each on all of test


def refuse_small_limit(limit: int | None, spent: int, dev: int, test: int) -> None:
    """Raises `UserError` where `--max-calls` leaves too few, beside the test split, to score one prompt."""
    held, first = TEST_PASSES * test, len(blocks(dev)[0])
    if limit is not None and (left := limit - held - spent) < first:
        raise UserError(
            f"--max-calls {limit} leaves {max(left, 0)} calls for the search; a first prompt needs {first}.",
            f"Test takes up to {held} calls ({TEST_PASSES} × {test} rows), set aside; {spent} are spent.",
            "Allow more calls, or give fewer test rows.",
        )


def visible_gain_line(dev: int) -> str:
    """What so many dev rows can tell apart."""
    return f"with {plural(dev, 'dev row')}, gains under {100 * detectable_gain(dev):.0f} points are noise to the search"


def forecast_lines(
    able: Abilities, trials: int, growth_calls: int, allowed: int | None, splits: Splits
) -> Iterator[str]:
    """What the endpoint cannot do, and the calls of the whole run at most; a line each.

    growth_calls: what the sources of candidates take at most. allowed: --max-calls.
    """
    for layout, why in able.refused.items():
        yield f"layout {layout} is left out: {why}"
    if not able.structured:
        yield "the endpoint does not constrain outputs: typed replies are checked instead"
    dev, test = len(splits.dev), len(splits.test)
    on_dev = trials * dev
    most = on_dev + growth_calls + MAX_CONTENDERS * dev + TEST_PASSES * test
    if allowed is not None and allowed < most:
        yield f"forecast: at most {allowed:,} calls, by --max-calls; all trials would take up to {most:,}"
    else:
        yield f"forecast: at most {most:,} calls; racing usually saves half of the {on_dev:,} on dev"
