"""What a run will cost at most and what its dev rows can tell, said before anything is paid."""

from __future__ import annotations

from collections.abc import Iterator

from optimizer.search.calibrating import CandidateCalibrator
from optimizer.search.growth import SpaceGrowth
from optimizer.search.playoff import MAX_CONTENDERS
from optimizer.search.race import MIN_GENERATION, blocks, later_generations
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import Limits
from promptstill.errors import UserError
from promptstill.scoring.probe import Abilities
from promptstill.stats import detectable_gain
from promptstill.task.metrics import is_judge
from promptstill.task.open import OpenTask
from promptstill.text import duration, plural

PROMPT_PASSES = 2  # over test: baseline and winner
DSPY_PASSES = 2  # DSPy's default, and its second try


def max_test_calls(rows: int, *, dspy: bool) -> int:
    """The calls that so many test rows take at most, with or without DSPy's default."""
    return (PROMPT_PASSES + DSPY_PASSES * dspy) * rows


def max_other_calls(task: SearchTask, growth: SpaceGrowth | None, calibrating: CandidateCalibrator | None) -> int:
    """The calls of a search that score no row of dev, at most: the rounds of proposals between generations, the
    calibration of the trials after the first race, and how sure the winner is of dev."""
    first = len(task.starters())
    later, calls = max(0, task.trials - first), 0
    if growth:
        calls += growth.max_calls(later_generations(task.trials, first, MIN_GENERATION))
    if calibrating and later:
        calls += calibrating.first_calls + calibrating.max_calls * later + calibrating.confidence_calls(task)
    return calls


def refuse_small_limit(
    limit: int | None, spent: int, dev: int, held: int, *, dspy: bool, searches: int = 1, draws: int = 1
) -> None:
    """Raises `UserError` where `--max-calls` leaves too few, beside those held for test, to score one prompt in each of
    the searches."""
    first = len(blocks(dev)[0]) * searches * draws
    in_each = "" if searches == 1 else f" in each of {searches} searches"
    if limit is not None and (left := limit - held - spent) < first:
        raise UserError(
            f"--max-calls {limit} leaves {max(left, 0)} calls for the search; a first prompt{in_each} needs {first}.",
            f"Test takes up to {held} calls, set aside; {spent} are spent.",
            "Allow more calls, give fewer test rows, or leave DSPy's default out of them (--no-dspy)."
            if dspy
            else "Allow more calls, or give fewer test rows.",
        )


def visible_gain_line(dev: int) -> str:
    """What so many dev rows can tell apart."""
    return f"with {plural(dev, 'dev row')}, gains under {100 * detectable_gain(dev):.0f} points are noise to the search"


def ability_lines(able: Abilities, opened: OpenTask) -> Iterator[str]:
    """What the endpoint cannot do, and what a row of a program costs; a line each."""
    for layout, why in able.refused.items():
        yield f"layout {layout} is left out: {why}"
    program = opened.program
    if not able.structured and program is None:
        yield "the endpoint does not constrain outputs: typed replies are checked instead"
    if spoken := str(able.dialect):
        yield f"requests as the endpoint takes them: {spoken}"
    if able.thinking:
        controls = "; ".join(f"{name} by {dialect.control_text}" for name, dialect in able.thinking.items())
        yield f"the model thinks, and can be told how much: {controls}"
    if not able.dialect.temperature:
        draws = f"the mean of {opened.draws} is its score" if opened.draws > 1 else "--draws N asks each row N times"
        yield f"its replies are samples, so that a row's score differs from call to call: {draws}"
    if program:
        each = program.calls_per_row
        yield f"each row takes some {each} calls, one for each predictor of the program; equal calls are asked once"


def forecast_lines(trials: int, other_calls: int, limits: Limits, opened: OpenTask, *, dspy: bool) -> Iterator[str]:
    """The calls of the whole run at most; a line each.

    other_calls: those that score no row, at most. dspy: whether test has its row.
    """
    each = opened.calls_per_row
    dev, test = each * len(opened.splits.dev), opened.test_calls
    on_dev = trials * dev
    held = max_test_calls(test, dspy=dspy)
    most = on_dev + other_calls + MAX_CONTENDERS * dev + held
    if by_limit := most_by_limit(most, limits):
        yield f"forecast: {by_limit}"
    else:
        yield f"forecast: at most {most:,} calls; racing usually saves half of the {on_dev:,} on dev"
    if is_judge(opened.recipe.metric):
        yield "besides, the judge marks each different answer; all limits but --effort count its calls too"
    if dspy:
        share = f"{DSPY_PASSES * test:,} of them for the row of DSPy's default (--no-dspy leaves it out)"
        yield f"test takes up to {held:,} of these calls, up to {share}"


def most_by_limit(most: int, limits: Limits) -> str:
    """The calls at most where a limit ends the search before its trials; empty where none does. most: of all trials."""
    allowed = limits.most_calls
    if allowed is None or allowed >= most:
        return ""
    if allowed == limits.effort:
        return f"at most {allowed:,} calls, by --effort"
    return f"at most {allowed:,} calls, by --max-calls; all trials would take up to {most:,}"


def folds_line(rows: int, folds: int, calls: int, limits: Limits, pace: float) -> str:
    """What a cross-validated run costs at most. pace: seconds a call; 0 where it is not known."""
    searches = f"{folds + 1} searches side by side, one without each of {folds} folds and one on all {rows} rows"
    most = most_by_limit(calls, limits) or f"at most {calls:,} calls"
    took = min([calls, *filter(None, [limits.most_calls])]) * pace
    time = f", at the pace of the first calls {duration(took)}" if pace else ""
    return f"forecast: {searches}: {most}{time}; racing usually saves half"
