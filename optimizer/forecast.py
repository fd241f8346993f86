"""What a run will cost at most and what its dev rows can tell, said before anything is paid."""

from __future__ import annotations

from collections.abc import Iterator

from optimizer.errors import UserError
from optimizer.finals import ENTRANTS
from optimizer.pools import BOOTSTRAP_ROWS, REASONED_ROWS
from optimizer.probe import Abilities
from optimizer.race import blocks
from optimizer.settings import Settings
from optimizer.spelled import plural
from optimizer.stats import visible_gain

READINGS = 4  # seed, winner, DSPy's default and its second try, each on all of test
PROPOSAL_CALLS = 3  # what one proposal takes at most


def refuse_small(limit: int | None, spent: int, dev: int, test: int) -> None:
    """Raises `UserError` where the budget of calls leaves too few, beside the reading of test, to score one prompt."""
    held, first = READINGS * test, len(blocks(dev)[0])
    if limit is not None and (left := limit - held - spent) < first:
        raise UserError(
            f"--max-calls {limit} leaves {max(left, 0)} calls for the search; a first prompt needs {first}.",
            f"Reading test takes up to {held} calls ({READINGS} × {test} rows), set aside; {spent} are spent.",
            "Allow more calls, or give fewer test rows.",
        )


def filling(settings: Settings) -> int:
    """The calls that filling the pools takes at most."""
    return BOOTSTRAP_ROWS + REASONED_ROWS + PROPOSAL_CALLS * settings.proposing


def sight(dev: int) -> str:
    """What so many dev rows can tell apart."""
    return f"with {plural(dev, 'dev row')}, gains under {100 * visible_gain(dev):.0f} points are noise to the search"


def forecast(able: Abilities, settings: Settings, dev: int, test: int) -> Iterator[str]:
    """What the endpoint cannot do, and the calls of the whole run at most; a line each."""
    for layout, why in able.refused.items():
        yield f"layout {layout} is left out: {why}"
    if not able.structured:
        yield "the endpoint does not constrain outputs: typed replies are checked instead"
    on_dev = settings.trials * dev
    most = on_dev + filling(settings) + ENTRANTS * dev + READINGS * test
    allowed = settings.budget.calls
    if allowed is not None and allowed < most:
        yield f"forecast: at most {allowed:,} calls, by --max-calls; all trials would take up to {most:,}"
    else:
        yield f"forecast: at most {most:,} calls; racing usually saves half of the {on_dev:,} on dev"
