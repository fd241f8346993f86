"""The end of a run in words: the three prompts on test with intervals, what it cost, and what to type next."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from optimizer.judge import paid
from optimizer.measure import Reading, Verdict, best_of
from optimizer.models import EMBEDDED
from optimizer.pipeline import Result
from optimizer.shell import near, pasted
from optimizer.stats import Gain
from optimizer.tables import narrow


def summary(result: Result) -> RenderableType:
    """What the terminal shows when a run has ended; `whereabouts` follows."""
    parts: list[RenderableType] = []
    if result.verdict:
        parts += [table(result.verdict), Text(""), *map(unbroken, conclusion(result.verdict))]
    else:
        parts.append(Text("Test was not read, so nothing is claimed: best.json holds the seed prompt."))
    if result.outcome.stopped:
        parts.append(Text(f"The search stopped early, by {result.outcome.stopped}. The best so far stands."))
    parts += [Text(""), *map(unbroken, costs(result)), Text("")]
    return Group(*parts)


def unbroken(line: str) -> Text:
    """A line that a narrow terminal may break where it likes, but not we; to be printed with `crop=False`."""
    return Text(line, no_wrap=True, overflow="ignore")


def table(verdict: Verdict) -> Table:
    """Seed, DSPy default and winner on the same test rows."""
    figures = ("score", "95 % interval", "unparsed", "prompt tokens", "reply tokens")
    read = "once" if verdict.winners == 1 else f"for {verdict.winners} winners so far"
    shown = narrow(f"test: {verdict.winner.score.n} rows, read {read}", "prompt", *figures)
    for name, one in (("seed", verdict.seed), ("DSPy default", verdict.dspy), ("winner", verdict.winner)):
        shown.add_row(name, *cells(one))
    return shown


def cells(one: Reading) -> list[str]:
    score = one.score
    interval = f"{points(score.low)} to {points(score.high)}"
    tokens = (f"{one.prompt_tokens:.0f}", f"{one.completion_tokens:.0f}")
    return [points(score.mean), interval, f"{one.parse_failures:.0%}", *tokens]


def conclusion(verdict: Verdict) -> list[str]:
    """The gains, and which prompt is shipped for them."""
    lines = [f"winner over seed:         {told(verdict.over_seed)}"]
    lines.append(f"winner over DSPy default: {told(verdict.over_dspy)}")
    lines.append(f"winner's dev score minus its test score: {100 * verdict.dev_optimism:+.1f} points")
    if verdict.shipped == "seed":
        lines.append("The winner does not beat the seed prompt on test beyond doubt, so the seed prompt is shipped.")
    else:
        lines.append("The winner beats the seed prompt on test: it is shipped.")
    if verdict.winners > 1:
        lines.append(best_of(verdict.over_seed.p, verdict.winners))
    return lines


def told(gain: Gain) -> str:
    interval = f"95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
    return f"{100 * gain.mean:+.1f} points, {interval}, p = {gain.p:.4f}"


def points(share: float) -> str:
    return f"{100 * share:.1f}"


def costs(result: Result) -> list[str]:
    """Calls and tokens by role, and what racing saved."""
    meter, trials = result.meter, result.outcome.trials
    bought, full = sum(len(trial.scores) for trial in trials), len(trials) * result.rows
    roles = ", ".join(f"{role} {total.calls:,}" for role, total in sorted(meter.spent.items()))
    share = f"{bought:,} of {full:,} dev rows ({bought / max(full, 1):.0%})"
    saver = "racing and the limit" if result.outcome.stopped else "racing"
    lines = [f"{len(trials)} trials bought {share}; {saver} saved the rest"]
    if played := result.outcome.playoff:
        met = f"met on {max(one.rows for one in played)} train rows"
        if result.outcome.unplayed:
            met = "did not meet, for the budget had ended: dev alone chose"
        lines.append(f"play-off: {len(played)} that dev cannot tell apart {met}")
    usd = f", {meter.usd:.2f} USD" if meter.usd else ""
    lines.append(
        f"{meter.total.calls:,} calls in all ({roles}), {meter.tokens:,} tokens{usd}, {meter.hits:,} replies reused"
    )
    if (judges := paid()).calls:
        tokens = judges.prompt_tokens + judges.completion_tokens
        lines.append(f"besides, {judges.calls:,} calls of the judge, {tokens:,} tokens, which no limit counts")
    return lines


def whereabouts(result: Result, best_path: Path) -> list[str]:
    """Files, and the commands to type next; none may be wrapped, for they are to be pasted."""
    settings = result.run.record["settings"]
    lines = [
        f"best prompt  {near(best_path)}",
        f"run folder   {near(result.run.path)}",
        f"look at it   {near(result.run.report_path)}",
        f"read it      {pasted('optimize', '--show', best_path)}",
        *following(best_path, settings["base_url"], settings["api_key_env"]),
    ]
    if stopped := result.outcome.stopped:
        if result.outcome.unplayed:
            lines.append(f"play off     {twice(result.run.path, stopped, '--trials', len(result.outcome.trials))}")
        lines.append(f"search on    {twice(result.run.path, stopped)}")
    return lines


def twice(run_path: Path, reached: str, *options: str | int) -> str:
    """The command that goes on with a run at twice the limit that it reached, such as `--max-calls 400`."""
    option, limit = reached.split(" ")
    return pasted("optimize", "--resume", run_path, *options, option, f"{2 * float(limit):.12g}")


def following(best_path: Path, base_url: str | None, key_name: str) -> list[str]:
    """What can be done with the prompt; a model that only answers elsewhere can teach, but is not served from here."""
    if base_url is None:
        distil = pasted("distill", "--from-prompt", best_path)
        return [f"serve it     {pasted('serve', best_path)}", f"distil it    {distil}"]
    elsewhere = ["--base-url", base_url] + (["--api-key-env", key_name] if key_name != "OPENAI_API_KEY" else [])
    distil = pasted("distill", "--from-prompt", best_path, *elsewhere, "--student", EMBEDDED)
    return [f"distil it    {distil}"]
