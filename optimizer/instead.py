"""What `optimize` does instead of a search: a function an option, which shows the outcome."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import click
from rich.console import Console

from optimizer.command.values import ROLES, split_targets, to_parameters
from promptstill.command.asking import SOURCE
from promptstill.command.limits import LIMITS, to_limits
from promptstill.errors import UserError
from promptstill.prompt.prompt import Prompt
from promptstill.shell import command_line, short_path
from promptstill.task.scaffold import write_scaffold, write_shipped

# What goes with --label-next; the run has its own arguments for vLLM.
ASKED = ("base_url", "api_key_env", "window", "patience", "gpu_memory")
WITH_LABELS = {"label_next", "targets", "rows", "runs", "output", "price", *ASKED, *LIMITS}


def tour(others: list[str]) -> None:
    """A recorded search, replayed and explained. others: the options that were given with it."""
    if others:
        raise UserError(
            f"--tour goes alone, not with {', '.join(others)}.",
            "It replays one recorded search, as it was.",
            f"Type: {command_line('optimize', '--tour')}",
        )
    from optimizer.tour.record import Record
    from optimizer.tour.story import take_tour

    tables = Console(highlight=False)
    for part in take_tour(Path("runs"), Record()):
        if isinstance(part, str):
            click.echo(part)
        else:
            tables.print(part, crop=False)


def write_recipe(path: Path, rows: Path | None, like: str | None) -> None:
    """A first recipe: a copy of the one that `like` names, or one for these rows, with what was found in them."""
    if rows and like:
        raise UserError("--from and --like are two ways to begin.", "", "Give one of them.")
    findings = write_shipped(path, like) if like else write_scaffold(path, rows)
    check_line = command_line("optimize", path, "--check")
    if like:
        click.echo("\n".join(findings))
        click.echo(f"Read it, change what does not fit, then: {check_line}")
        return
    if rows is None:
        click.echo(f"{path} is written. Put your rows into it, then: {check_line}")
        return
    from optimizer.launch import data_lines
    from promptstill.task.open import open_task

    for line in findings:
        click.echo(line)
    click.echo(f"{path} is written. Read it, change what does not fit, then: {check_line}")
    for line in data_lines(open_task(str(path))):
        click.echo(line)


def show(prompt: Prompt, form: str | None) -> None:
    """A prompt for reading, or as a file that reads back."""
    if form is None:
        click.echo(prompt.to_markdown())
    else:
        click.echo(prompt.to_own(cast("Literal['md', 'json']", form)), nl=False)


def measure(options: dict[str, Any], chosen: set[str]) -> None:
    """Prompts on test, without a search."""
    from optimizer.command.measured import measured, next_steps
    from optimizer.measure.measure import measure as score
    from optimizer.measure.settings import MeasureSettings
    from promptstill.command.listeners import terminal_listener

    recipe, files = split_targets(options["targets"])
    settings = MeasureSettings(
        **{name: options[name] for name in ("models", *SOURCE, "judge", "judge_key_env", "rivals", "embeddings")},
        recipe=recipe,
        files=files,
        parameters=to_parameters(options["parameters"]),
        split_seed=options["split_seed"] if "split_seed" in chosen else None,
        limits=to_limits(options, ROLES),
    )
    with terminal_listener(Console(stderr=True, highlight=False)) as listener:
        made = score(settings, options["runs"], listener)
    Console(highlight=False).print(measured(made), crop=False)
    for line in next_steps(made):
        click.echo(line)


def compare(options: dict[str, Any], chosen: set[str]) -> None:
    """Several runs side by side, here and in compare.html."""
    from optimizer.report.compare import compare_runs as side_by_side

    output = options["output"] if "output" in chosen else Path("compare.html")
    table, best_on_dev = side_by_side([Path(target) for target in options["targets"]], output)
    Console(highlight=False).print(table)
    click.echo(f"look at it           {short_path(output)}")
    click.echo(f"read the best on dev {command_line('optimize', '--show', best_on_dev)}")


def label_next(options: dict[str, Any], chosen: set[str], others: list[str]) -> None:
    """The unlabelled rows worth labelling first, here and in a file. others: options that do not go with it."""
    from optimizer.label.label import list_rows
    from optimizer.label.lines import closing_lines, row_lines
    from optimizer.label.target import open_target
    from promptstill.command.listeners import terminal_listener

    run = open_target(options["targets"], options["label_next"], options["runs"], others)
    output = options["output"] if "output" in chosen else Path("label-next.jsonl")
    own = {name: options[name] for name in ASKED if name in chosen}
    settings = replace(run.settings(), **own, limits=to_limits(options, ROLES))
    settings.check()
    with terminal_listener(Console(stderr=True, highlight=False)) as listener:
        made = list_rows(run, settings, options["label_next"], options["rows"], output, listener)
    for line in [*(line for row in made.picked for line in row_lines(row)), *closing_lines(made, settings, output)]:
        click.echo(line)


def report(path: Path) -> None:
    """A run's page, made again."""
    from optimizer.report.report import write_report
    from optimizer.run.folder import RunFolder

    run = RunFolder.open(path)
    write_report(run)
    click.echo(run.report_path)


def gate(options: dict[str, Any]) -> None:
    """Ends the process with 3 where the prompt dropped."""
    from optimizer.run.regression import REGRESSED
    from optimizer.run.regression import check_regression as score_again
    from promptstill.engine.source import ModelSource
    from promptstill.task.judge import judges_at, to_judge

    source = ModelSource(**{name: options[name] for name in SOURCE})
    judge = to_judge(options["judge"], options["judge_key_env"], options["api_key_env"])
    with judges_at(judge):
        outcome = score_again(
            options["gate"],
            options["recipe"],
            to_parameters(options["parameters"]),
            options["model"],
            source,
            options["max_drop"],
            lambda line: click.echo(line, err=True),
        )
    for line in outcome.lines():
        click.echo(line)
    if outcome.stored:
        kept = short_path(options["gate"])
        click.echo(f"The scores of now are stored in {kept}: later gates are held against them. Commit it.")
    if outcome.failed:
        click.echo(f"search again: {command_line('optimize', outcome.recipe)}")
    else:
        click.echo(f"serve it: {command_line('serve', options['gate'])}")
    sys.exit(REGRESSED if outcome.failed else 0)
