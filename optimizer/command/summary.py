"""The end of a run in words: prompts and rivals on test with intervals, what it cost, and what to type next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from optimizer.run.effort import EFFORTS, next_effort
from optimizer.run.result import RunResult
from optimizer.run.settings import SearchSettings
from optimizer.search.baseline import BASELINE
from optimizer.search.playoff import pareto
from promptstill.command.limits import money_line
from promptstill.command.tables import narrow_table
from promptstill.endpoint.allowance import JUDGE, Limit
from promptstill.endpoint.hosted import OWN_KEY, is_hosted
from promptstill.engine.models import EMBEDDED
from promptstill.power import settle_note
from promptstill.report.row_view import arm_labels
from promptstill.scoring.rivals.report import LABELS, rival_note
from promptstill.scoring.test_report import (
    TestReport,
    TestVerdict,
    bonferroni_note,
    cut_note,
    doubt_note,
    folds_note,
    unjudged_note,
)
from promptstill.shell import command_line, short_path
from promptstill.stats import Estimate, Gain
from promptstill.task.judge import judge_note
from promptstill.text import p_text

TO_LABEL = 20  # rows that the next step lists


def summary(result: RunResult) -> RenderableType:
    """What the terminal shows when a run has ended; `whereabouts` follows."""
    parts: list[RenderableType] = []
    name, own = result.run.baseline_name, result.run.own_name
    if result.verdict:
        parts += [table(result.verdict, own), Text(""), *map(unbroken_line, conclusion(result.verdict, name))]
    else:
        parts.append(Text(f"Test was not read, so nothing is claimed: best.json holds {name}."))
    if result.outcome.stopped:
        parts.append(Text(f"The search stopped early, by {result.outcome.stopped}. The best so far stands."))
    parts += [Text(""), *map(unbroken_line, costs(result)), Text("")]
    return Group(*parts)


def unbroken_line(line: str) -> Text:
    """A line that a narrow terminal may break where it likes, but not we; to be printed with `crop=False`."""
    return Text(line, no_wrap=True, overflow="ignore")


def table(verdict: TestVerdict, own: str | None = None) -> Table:
    """Baseline, DSPy default, winner and rivals on the same test rows. own: what the user's own prompt is called."""
    figures = ("score", "95 % interval", "unparsed", "prompt tokens", "reply tokens")
    read = "once" if verdict.winners == 1 else f"for {verdict.winners} winners so far"
    shown = narrow_table(f"test: {verdict.winner.score.n} rows, read {read}", "prompt", *figures)
    for name, one in arms(verdict, "yours" if own else None).items():  # short, for 80 columns
        shown.add_row(name, *cells(one))
    for name, rival in verdict.rivals.items():
        shown.add_row(LABELS[name], *score_cells(rival.score))
    return shown


def arms(verdict: TestVerdict, own: str | None = None) -> dict[str, TestReport]:
    """The prompts on test by the names that a reader sees."""
    labels = arm_labels(own)
    return {labels[arm]: report for arm, report in verdict.reports.items()}


def cells(one: TestReport) -> list[str]:
    tokens = (f"{one.prompt_tokens:.0f}", f"{one.completion_tokens:.0f}")
    return [*score_cells(one.score), f"{one.parse_failures:.0%}", *tokens]


def score_cells(score: Estimate) -> list[str]:
    """The score and its interval, in points."""
    return [points(score.mean), f"{points(score.low)} to {points(score.high)}"]


def conclusion(verdict: TestVerdict, baseline: str = BASELINE) -> list[str]:
    """The gains, and which prompt is shipped for them; first of all a rival that does as well. baseline: what it is
    called in a sentence."""
    over = "winner over baseline:    " if baseline == BASELINE else f"winner over {baseline}:"
    note = rival_note(verdict.winner.score.mean, verdict.rivals)
    lines = [*([note] if note else []), f"{over} {gain_text(verdict.over_baseline)}"]
    if verdict.over_dspy:
        lines.append(f"winner over DSPy default: {gain_text(verdict.over_dspy)}")
    lines += [f"winner over {LABELS[name] + ':':13} {gain_text(one.gain)}" for name, one in verdict.rivals.items()]
    if note := folds_note(len(verdict.folds), verdict.winner.score.n):
        lines.append(note)
    lines.append(f"winner's dev score minus its test score: {100 * verdict.dev_optimism:+.1f} points")
    if verdict.shipped == "baseline":
        lines.append(f"The winner does not beat {baseline} on test beyond doubt, so {baseline} is shipped.")
        lines += open_question(verdict.over_baseline, verdict.winners)
    else:
        lines.append(f"The winner beats {baseline} on test: it is shipped.")
    own = None if baseline == BASELINE else baseline
    reports = arms(verdict, own)
    cut = cut_note({name: one.cut for name, one in reports.items()}, verdict.winner.score.n)
    lines += filter(None, [cut, unjudged_note(reports)])
    if verdict.winners > 1:
        lines.append(bonferroni_note(verdict.over_baseline.p, verdict.winners, over=baseline))
    return lines


def open_question(gain: Gain, winners: int) -> list[str]:
    """Why the gain does not hold, and how many more rows would settle it."""
    return [note for note in (doubt_note(gain, winners), settle_note(gain, winners)) if note]


def gain_text(gain: Gain) -> str:
    interval = f"95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
    return f"{100 * gain.mean:+.1f} points, {interval}, {p_text(gain.p)}"


def points(share: float) -> str:
    return f"{100 * share:.1f}"


def evaluated_line(trials: int, evaluated: int, full: int, stopped: bool) -> str:
    """How many dev rows the trials were scored on, of those of a search without racing; stopped: by a limit."""
    saver = "racing and the limit" if stopped else "racing"
    saved = f"; {saver} saved the rest" if evaluated < full else ""
    return f"{trials} trials evaluated {evaluated:,} of {full:,} dev rows ({evaluated / max(full, 1):.0%}){saved}"


def costs(result: RunResult) -> list[str]:
    """Calls and tokens by role, and what racing saved."""
    allowance, trials = result.allowance, result.outcome.trials
    evaluated, full = sum(len(trial.scores) for trial in trials), len(trials) * result.dev_rows
    roles = ", ".join(f"{role} {cost.calls:,}" for role, cost in sorted(allowance.spent.items()) if role != JUDGE)
    lines = [evaluated_line(len(trials), evaluated, full, bool(result.outcome.stopped))]
    if len(front := pareto(result.outcome.finalists)) > 1:
        shown = ", ".join(f"{points(trial.value)} with {trial.tokens:.0f}" for trial in front)
        lines.append(f"score on dev by tokens a request: {shown}; in {short_path(result.run.pareto_path(1).parent)}")
    if result.verdict and result.verdict.folds:
        lines[0] = f"the search on all rows: {lines[0]}"
    if played := result.outcome.playoff:
        met = f"were compared on {max(one.rows for one in played)} train rows"
        if result.outcome.unplayed:
            met = "were not compared, for no call was left: dev alone chose"
        lines.append(f"play-off: {len(played)} that dev cannot tell apart {met}")
    lines.append(
        f"{allowance.total.calls:,} calls in all ({roles}), {allowance.total.tokens:,} tokens, "
        f"{allowance.reused:,} replies reused"
    )
    if note := judge_note(allowance.judge_cost):
        lines.append(note)
    return [*lines, *filter(None, [money_line(allowance)])]


def next_steps(result: RunResult, best_path: Path) -> list[str]:
    """Files, and the commands to type next; none may be wrapped, for they are to be pasted."""
    lines = [
        f"best prompt  {short_path(best_path)}",
        f"run folder   {short_path(result.run.path)}",
        f"look at it   {short_path(result.run.report_path)}",
        f"read it      {command_line('optimize', '--show', best_path)}",
    ]
    if result.in_program:
        lines.append(f'put it back  recipe.program_with(Prompt.load("{short_path(best_path)}")).save("program.json")')
    else:
        lines += follow_up_commands(best_path, result.settings)
    lines += label_step(result)
    if stopped := result.outcome.stopped:
        if result.outcome.unplayed:
            lines.append(
                f"play off     {double_limit(result.run.path, stopped, '--trials', len(result.outcome.trials))}"
            )
        lines.append(f"search on    {double_limit(result.run.path, stopped)}")
    elif more := next_effort(result.settings.effort_taken):
        lines.append(f"search on    {command_line('optimize', '--resume', result.run.path, '--effort', more)}")
    return lines


def label_step(result: RunResult) -> list[str]:
    """How to find the rows to label first, where more labels would settle an open question and there are rows."""
    verdict = result.verdict
    if not verdict or result.in_program or not result.unlabelled:
        return []
    if not settle_note(verdict.over_baseline, verdict.winners):
        return []
    return [f"label next   {command_line('optimize', '--label-next', TO_LABEL, result.run.path)}"]


def double_limit(run_path: Path, reached: Limit, *options: str | int) -> str:
    """The command that goes on with a run at twice the limit that it reached."""
    if reached.kind == "effort":
        return command_line("optimize", "--resume", run_path, *options, reached.option, list(EFFORTS)[-1])
    doubled = replace(reached, value=2 * reached.value)
    return command_line("optimize", "--resume", run_path, *options, doubled.option, doubled.amount)


def follow_up_commands(best_path: Path, settings: SearchSettings) -> list[str]:
    """What can be done with the prompt; a model that only answers elsewhere can teach, but is not served from here."""
    base_url = settings.base_url
    judge = ["--judge", settings.judge] if settings.judge else []
    if settings.judge and settings.judge_key_env:
        judge += ["--api-key-env", f"judge={settings.judge_key_env}"]
    if base_url is None:
        distil = command_line("distill", "--from-prompt", best_path, *judge)
        return [f"serve it     {command_line('serve', best_path)}", f"distil it    {distil}"]
    elsewhere = [] if is_hosted(base_url) else ["--base-url", base_url]
    keys = ["--api-key-env", settings.api_key_env] if settings.api_key_env != OWN_KEY else []
    distil = command_line("distill", "--from-prompt", best_path, *elsewhere, *keys, *judge, "--student", EMBEDDED)
    return [f"distil it    {distil}"]
