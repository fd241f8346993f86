"""The command `distill`: arguments in, exit code out (promptstill/errors.py says which)."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from distill.command.options import instead, student, task, teacher
from promptstill.command.asking import SOURCE
from promptstill.command.exits import RESUME_ADVICE, exit_codes
from promptstill.command.help import Command
from promptstill.command.limits import LIMITS, changed_limits, to_limits
from promptstill.command.roles import to_keys
from promptstill.endpoint.allowance import JUDGE, LimitReached
from promptstill.errors import UserError
from promptstill.shell import command_line, short_path

if TYPE_CHECKING:  # they load aiohttp and tokenizers
    from distill.settings import DistillSettings
    from distill.verdict.verdict import DistillVerdict

WAIT_S = 2.0
ROLES = (JUDGE,)  # those with a price beside the teacher's
KEYS = {"api_key_env": "OPENAI_API_KEY", "teacher_key_env": None, "judge_key_env": None}
KEY_SETTINGS = {"": "api_key_env", "teacher": "teacher_key_env", JUDGE: "judge_key_env"}
EXAMPLES = """
distill --from-prompt best.json           # after: optimize recipes/qa.py
distill --from-prompt best.json --unlabelled more.jsonl -m 2 --search 8
distill --resume distilled                # after a stop
"""
CODES = (
    ("0", "done, whatever the verdict says; also when a limit ended it"),
    ("1", "an engine, endpoint, memory or disk failed"),
    ("2", "a mistake in prompt, recipe, rows or options"),
    ("130, 143", "stopped by Ctrl-C, by SIGTERM"),
)


@click.command(cls=Command, examples=EXAMPLES, codes=CODES)
@task
@teacher
@student
@instead
@click.version_option(package_name="promptstill")
@click.pass_context
def distill(context: click.Context, /, **options: Any) -> None:
    """Train a small model to answer a bare prompt as well as the best prompt, and measure whether it is worth it."""
    if options["report"]:
        report(options["report"])
        return
    if not options["from_prompt"] and not options["resume"]:
        raise UserError("Which prompt?", "distill takes --from-prompt best.json, or --resume FOLDER.", "")
    if options["resume"]:
        refuse_changes(context)
    given = click.core.ParameterSource.COMMANDLINE
    work(options, {name for name in options if context.get_parameter_source(name) == given})


def refuse_changes(context: click.Context) -> None:
    """--resume takes no other option than limits: a distillation goes on with the settings that it began with."""
    given = click.core.ParameterSource.COMMANDLINE
    chosen = [p for p in context.command.params if p.name and context.get_parameter_source(p.name) == given]
    others = [parameter.opts[0] for parameter in chosen if parameter.name not in ("resume", "price", *LIMITS)]
    if others:
        raise UserError(
            f"--resume takes no other option than limits, not {', '.join(others)}.",
            "A distillation goes on with the settings that it began with.",
            "Leave it out, or start a new one in another folder with -o.",
        )


def resumed_settings(options: dict[str, Any], chosen: set[str]) -> DistillSettings:
    """A distillation's settings, with the limits that the command line changes."""
    from distill.folder import DistilledFolder

    _, settings = DistilledFolder.open(options["resume"])
    return replace(settings, limits=changed_limits(settings.limits, to_own(options), chosen, ROLES))


def to_own(options: dict[str, Any]) -> dict[str, Any]:
    """The options with the teacher's price as that of the model itself."""
    return options | {"price": [text.removeprefix("teacher=") for text in options["price"]]}


def work(options: dict[str, Any], chosen: set[str]) -> None:
    """Distil, and show the result. Of several processes of a launch, all but the first only train."""
    from distill.launch import run_distillation
    from promptstill.command.listeners import terminal_listener

    if int(os.environ.get("RANK", "0")) > 0:
        train_beside(options["resume"] or options["output"])
        return
    settings = resumed_settings(options, chosen) if options["resume"] else to_settings(options)
    with terminal_listener(Console(stderr=True, highlight=False)) as listener:
        try:
            done = run_distillation(settings, options["resume"], options["output"], listener)
        except LimitReached:  # said already, with the way to go on
            if int(os.environ.get("WORLD_SIZE", "1")) > 1:
                sys.exit(1)  # else the other processes of the launch would wait for this one
            return
    show(done.folder.path, done.verdict, done.settings.seed, done.best_path)


def show(folder: Path, verdict: DistillVerdict, seed: int, best: Path | None) -> None:
    """The arms, the verdict's sentence, the files and the next command."""
    from distill.report.card import terminal_table
    from distill.verdict.verdict import verdict_sentence

    out = Console(highlight=False)
    out.print(terminal_table(verdict, seed))
    out.print(f"\n{verdict_sentence(verdict)}\n", soft_wrap=True)
    for line in next_steps(folder, best):
        click.echo(line)


def next_steps(path: Path, best: Path | None) -> list[str]:
    """The files to look at, and the command to type next. `best` is the best.json that the same server can serve."""
    from distill.folder import DistilledFolder

    serve = command_line("serve", best, "--adapter", path) if best else command_line("serve", "--adapter", path)
    folder = DistilledFolder(path)
    return [
        f"model card  {short_path(path / 'README.md')}",
        f"look at it  {short_path(path / 'report.html')}",
        f"{'serve both' if best else 'serve it  '}  {serve}",
        *([f"or merged   {command_line('serve', folder.merged_dir)}"] if folder.merged_prompt_path.is_file() else []),
    ]


def report(path: Path) -> None:
    """Write a folder's page again; for an unfinished one, the page shows how far it is."""
    from distill.folder import DistilledFolder
    from distill.report.page import write_report

    folder, _ = DistilledFolder.open(path)
    write_report(folder)
    click.echo(short_path(folder.path / "report.html"))


def train_beside(path: Path) -> None:
    """Another process of `accelerate launch`: waits for the first one's training rows, then trains with it."""
    from distill.folder import DistilledFolder
    from distill.plan import plan_distillation
    from distill.teach.teacher import TEACHER
    from distill.teach.teaching import load_teacher_data
    from distill.training import StudentTraining
    from promptstill.events import silent, teller

    folder = DistilledFolder(path)
    while folder.read_step(TEACHER) is None:
        time.sleep(WAIT_S)
    folder, settings = DistilledFolder.open(path)
    plan = plan_distillation(settings, teller(silent))
    data = load_teacher_data(folder, plan)
    if data is not None:
        StudentTraining(plan, settings, folder, silent).run(data)


def to_settings(options: dict[str, Any]) -> DistillSettings:
    """The settings, from the command line."""
    from distill.settings import DistillSettings
    from distill.teach.filter import FilterRules
    from distill.train.hyper import ALL_LINEAR, HyperParameters
    from promptstill.engine.source import ModelSource

    targets = options["targets"]
    modules = targets if targets == ALL_LINEAR else tuple(part.strip() for part in targets.split(","))
    hyper = HyperParameters(
        r=int(options["r"]),
        targets=modules,
        **{n: options[n] for n in ("alpha", "rslora", "lr", "epochs", "batch", "precision", "seed")},
    )
    paths: dict[str, Any] = {name: str(options[name]) if options[name] else None for name in ("recipe", "unlabelled")}
    keys: dict[str, Any] = KEYS | to_keys(options["api_key_env"], KEY_SETTINGS)
    options = options | {"api_key_env": keys.pop("api_key_env")}
    return DistillSettings(
        from_prompt=str(options["from_prompt"]),
        source=ModelSource(**{name: options[name] for name in SOURCE}),
        rules=FilterRules(min_score=options["keep"], max_per_row=options["max_per_row"], gold=options["gold"]),
        hyper=hyper,
        gold_arm=not options["no_gold_arm"],
        limits=to_limits(to_own(options), ROLES),
        **paths,
        **keys,
        **{
            name: options[name]
            for name in (
                *("teacher", "judge", "student", "k", "temperature", "drop_leaks", "layout", "search"),
                *("merge", "rivals", "embeddings", "seed"),
            )
        },
    )


def main() -> None:
    """The console entry."""
    with exit_codes(RESUME_ADVICE):
        distill(standalone_mode=False)


if __name__ == "__main__":
    main()
