"""The evaluation on test, once, at the end of a run: baseline prompt, DSPy's default and winner, on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import product, starmap
from statistics import median
from typing import Any

from promptstill.endpoint.client import Client
from promptstill.prompt.layouts.dspy_default import dspy_default
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.answer import stored_answer
from promptstill.scoring.compare import Marks, difference, estimate
from promptstill.scoring.evaluate import ScoredRow, gather_or_cancel, mean_tokens, score_draw, score_draws, score_rows
from promptstill.scoring.rivals.report import RivalReport
from promptstill.stats import ALPHA, MIN_GROUPS, Estimate, Gain
from promptstill.task.examples import Example
from promptstill.task.recipe import Metric
from promptstill.text import p_text, plural


@dataclass(frozen=True)
class TestReport:
    """One prompt on test: its score with interval, the shares of replies that did not parse or were cut, and its cost.

    cut: at max_tokens, whether the reply parsed or not. prompt_tokens, completion_tokens: mean a request. seconds: the
    median wait for a reply. folds: whether the rows of each fold were asked a prompt of their own.
    """

    score: Estimate
    parse_failures: float
    cut: float
    prompt_tokens: float
    completion_tokens: float
    seconds: float
    results: tuple[ScoredRow, ...]
    folds: bool = False

    @property
    def marks(self) -> Marks:
        return Marks.of(self.results, folds=self.folds)

    def to_json(self) -> dict[str, Any]:
        """Without the results of the rows, which test.jsonl holds."""
        rest = {key: value for key, value in vars(self).items() if key not in ("results", "score", "folds")}
        return {"score": asdict(self.score), **rest}


Reports = tuple[TestReport, TestReport | None, TestReport]  # of baseline prompt, DSPy's default and winner


@dataclass(frozen=True)
class FoldScores:
    """A fold of a cross-validation: its rows, the mean scores of the baseline and of the winner found without them, the
    winner's score on dev, and the id of its prompt."""

    rows: int
    baseline: float
    winner: float
    dev: float
    prompt: str


@dataclass(frozen=True)
class TestVerdict:
    """The reports of the three prompts, and the winner's paired gains over the two others.

    dspy, over_dspy: None where DSPy's default was left out. dev_optimism: the winner's score on dev minus that on test.
    winners: number of winners evaluated on this test set so far, this one included. folds: of a cross-validation, where
    each row is asked the winner of a search that did not see it; the scores are then those of the procedure.
    rivals: what needs no language model, on the same rows, by its name in RIVALS; empty where they were left out.
    """

    baseline: TestReport
    dspy: TestReport | None
    winner: TestReport
    over_baseline: Gain
    over_dspy: Gain | None
    dev_optimism: float
    winners: int = 1
    folds: tuple[FoldScores, ...] = ()
    rivals: Mapping[str, RivalReport] = field(default_factory=dict)

    @property
    def reports(self) -> dict[str, TestReport]:
        """The report of each arm that was measured."""
        return {"baseline": self.baseline, **({"dspy": self.dspy} if self.dspy else {}), "winner": self.winner}

    @property
    def gains(self) -> dict[str, Gain]:
        """The winner's gain over each other arm."""
        return {"over_baseline": self.over_baseline, **({"over_dspy": self.over_dspy} if self.over_dspy else {})}

    @property
    def shipped(self) -> str:
        """The winner, where its gain holds after so many winners on these rows, else the baseline prompt."""
        return "winner" if self.over_baseline.holds(self.winners) else "baseline"


def bonferroni_note(p: float, count: int, evaluated: str = "winners", over: str = "the baseline prompt") -> str:
    """The p-value of a gain that is the best of `count` on the same test rows, by the Bonferroni correction."""
    return (
        f"{count} {evaluated} were evaluated on these test rows so far. "
        f"As the best of {count}, this gain over {over} has {p_text(min(1.0, count * p))} (Bonferroni)."
    )


def folds_note(folds: int, rows: int) -> str:
    """What the scores of a cross-validated run are of; empty where there are no folds."""
    if not folds:
        return ""
    return (
        f"Cross-validated in {folds} folds: each row was asked the winner of a search that did not see it. So the "
        f"scores are of this way to search; the prompt itself was searched on all {rows} rows."
    )


def doubt_note(gain: Gain, times: int = 1) -> str:
    """Why a gain does not hold; empty where it does. times: how many winners were evaluated on these rows."""
    if gain.holds(times):
        return ""
    if not gain.enough_groups:
        return group_note(gain.n, gain.worth)
    if gain.low <= 0:
        return "The interval of the gain is not above zero."
    corrected = f" after correction for {times} winners on these rows" if times > 1 else ""
    return f"The interval of the gain is above zero, but p is {gain.corrected_p(times):.4f}{corrected}, above {ALPHA}."


def group_note(n: int, worth: float, kind: str = "test row") -> str:
    """That so many rows are of too few effective groups to claim anything; empty where they are enough."""
    if worth >= MIN_GROUPS:
        return ""
    if worth >= n:
        return f"{plural(n, kind)} cannot tell: a claim needs {MIN_GROUPS} or more."
    return (
        f"The rows cannot tell: {plural(n, kind)} of few or unequal groups count as {worth:.1f} groups, "
        f"and a claim needs {MIN_GROUPS} or more."
    )


def cut_note(cut: Mapping[str, float], rows: int) -> str:
    """How many replies of each prompt were cut on so many rows, and what to do; empty where none was.

    cut: the share of each prompt's replies, from 0 to 1.
    """
    counts = [f"{name} {round(share * rows)} of {rows}" for name, share in cut.items() if share]
    if not counts:
        return ""
    return (
        f"Replies cut at max_tokens, which may lack their end: {', '.join(counts)}. "
        "Raise it in the recipe: Recipe(max_tokens=…)."
    )


def unjudged_note(reports: Mapping[str, TestReport]) -> str:
    """How many answers of each prompt a judge gave no mark to; empty where it marked all."""
    missed = {name: sum(row.unjudged for row in one.results) for name, one in reports.items()}
    counts = [f"{name} {count} of {len(reports[name].results)}" for name, count in missed.items() if count]
    return f"Scored zero since the judge gave no mark: {', '.join(counts)}." if counts else ""


def uncached_calls(task: Task, baseline: Prompt, rows: Sequence[Example], client: Client, *, dspy: bool) -> int:
    """The most calls that `evaluate_test` can take: all of a winner's, and what is not stored of the others."""
    first, second = dspy_default(task), dspy_default(task, "json")

    def uncached_dspy(row: Example, sample: int) -> int:
        tried, retried = (stored_answer(prompt, row.inputs, client, sample) for prompt in (first, second))
        return (tried is None) + (retried is None and (tried is None or tried.outputs is None))

    draws = list(product(rows, range(client.draws)))
    uncached = sum(stored_answer(baseline, row.inputs, client, sample) is None for row, sample in draws)
    return len(draws) + uncached + (sum(starmap(uncached_dspy, draws)) if dspy else 0)


async def evaluate_test(
    prompts: tuple[Prompt, Prompt],
    rows: Sequence[Example],
    metric: Metric,
    client: Client,
    *,
    seed: int,
    dspy_task: Task | None,
) -> Reports:
    """The reports of baseline prompt, DSPy's default and winner; `prompts` are the first and the last of them.

    dspy_task: the task that DSPy's default is given; None leaves it out.
    """
    rival = [score_dspy_default(dspy_task, rows, metric, client)] if dspy_task else []
    asked = [score_rows(prompts[0], rows, metric, client), *rival, score_rows(prompts[1], rows, metric, client)]
    baseline, *dspy, winner = [summarize_results(results, seed) for results in await gather_or_cancel(asked)]
    return baseline, dspy[0] if dspy else None, winner


def join_reports(parts: Sequence[Reports], seed: int) -> Reports:
    """The reports of several folds as one, over the rows of all."""
    baseline, dspy, winner = zip(*parts, strict=True)
    return _join(baseline, seed), _join(dspy, seed) if all(dspy) else None, _join(winner, seed, folds=True)


def _join(parts: Sequence[TestReport], seed: int, *, folds: bool = False) -> TestReport:
    rows = [row for one in parts for row in one.results]
    return parts[0] if len(parts) == 1 else summarize_results(rows, seed, folds=folds)


def compare_reports(reports: Reports, dev_score: float, seed: int) -> TestVerdict:
    """The verdict on baseline prompt, DSPy's default and winner; `dev_score` is the winner's score on dev."""
    baseline, dspy, winner = reports

    def winner_over(other: TestReport) -> Gain:
        return difference(winner.marks, other.marks, seed)

    return TestVerdict(
        baseline=baseline,
        dspy=dspy,
        winner=winner,
        over_baseline=winner_over(baseline),
        over_dspy=winner_over(dspy) if dspy else None,
        dev_optimism=dev_score - winner.score.mean,
    )


async def score_dspy_default(task: Task, rows: Sequence[Example], metric: Metric, client: Client) -> list[ScoredRow]:
    """`dspy.Predict` as it runs: its chat format first, and its JSON format where that reply does not parse."""
    first, second = dspy_default(task), dspy_default(task, "json")

    async def predict(row: Example, sample: int) -> ScoredRow:
        asked = (row, metric, client, "task", sample)
        result = await score_draw(first, *asked)
        return add_first_try(result, await score_draw(second, *asked)) if result.unparsed else result

    return await gather_or_cancel(score_draws(partial(predict, row), client) for row in rows)


def add_first_try(first: ScoredRow, retry: ScoredRow) -> ScoredRow:
    """The result of the second try, with the cost of both."""
    return replace(
        retry,
        prompt_tokens=first.prompt_tokens + retry.prompt_tokens,
        completion_tokens=first.completion_tokens + retry.completion_tokens,
        seconds=first.seconds + retry.seconds,
    )


def summarize_results(results: Sequence[ScoredRow], seed: int, *, folds: bool = False) -> TestReport:
    """The report of one prompt's results, or of those of several on a fold each; `seed` is that of the interval."""
    count = len(results)
    prompt_tokens, completion_tokens = mean_tokens(results)
    return TestReport(
        score=estimate(Marks.of(results, folds=folds), seed),
        parse_failures=sum(one.unparsed for one in results) / count,
        cut=sum(one.cut for one in results) / count,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        seconds=median(one.seconds for one in results),
        results=tuple(results),
        folds=folds,
    )
