"""The command `distill`: arguments in, exit code out (optimizer/errors.py says which)."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from distill.options import instead, student, task, teacher
from optimizer.errors import UserError
from optimizer.exits import exit_codes
from optimizer.help import Command
from optimizer.shell import near, pasted

if TYPE_CHECKING:  # heavy: aiohttp, and what counts tokens
    from distill.folder import Distilled
    from distill.settings import Settings
    from distill.verdict import Verdict

WAIT_S = 2.0
EXAMPLES = """
distill --from-prompt best.json           # after: optimize recipes/qa.py
distill --from-prompt best.json --unlabelled more.jsonl -m 2 --search 8
distill --resume distilled                # after a stop
"""
CODES = (
    ("0", "done, whatever the verdict says"),
    ("1", "the machinery failed: engine, endpoint, memory, disk"),
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
    """Train a small model to do with a bare prompt what the best prompt does; measure whether it was worth it."""
    if options["report"]:
        report(options["report"])
        return
    if not options["from_prompt"] and not options["resume"]:
        raise UserError("Which prompt?", "distill takes --from-prompt best.json, or --resume DIR.", "")
    if options["resume"]:
        refuse_changes(context)
    work(options)


def refuse_changes(context: click.Context) -> None:
    """A distillation goes on with the settings that it began with."""
    given = click.core.ParameterSource.COMMANDLINE
    chosen = [p for p in context.command.params if p.name and context.get_parameter_source(p.name) == given]
    others = [parameter.opts[0] for parameter in chosen if parameter.name != "resume"]
    if others:
        raise UserError(
            f"--resume takes no other option, not {', '.join(others)}.",
            "A distillation goes on with the settings that it began with.",
            "Leave it out, or start a new one in another folder with -o.",
        )


def work(options: dict[str, Any]) -> None:
    """Plan, do the steps, write the result; under a launch of several processes, all but the first only train."""
    from distill.folder import Distilled
    from distill.pipeline import Steps
    from distill.plan import plan
    from optimizer.progress import Watch

    if int(os.environ.get("RANK", "0")) > 0:
        follow(options["resume"] or options["output"])
        return
    if options["resume"] and Distilled.open(options["resume"])[0].finished:
        again(Distilled(options["resume"]))
        return
    if not options["resume"]:
        Distilled.refuse_occupied(options["output"])
    with Watch(Console(stderr=True, highlight=False)) as watch:
        settings = Distilled.open(options["resume"])[1] if options["resume"] else to_settings(options)
        planned = plan(settings, watch.say)
        folder = Distilled(options["resume"]) if options["resume"] else Distilled.create(options["output"], settings)
        watch.say(f"{len(planned.rows)} rows to learn from, {planned.leaks} leaks dropped; folder {folder.path}")
        watch.say(f"ahead: {ahead(settings.gold_arm)}")
        try:
            made = Steps(planned, settings, folder, watch).run()
        except BaseException:
            watch.say(f"to go on: {pasted('distill', '--resume', folder.path)}")
            raise
        from distill.artifact import write

        write(folder, made)
    show(folder.path, made.verdict, settings.seed, Path(settings.from_prompt) if planned.together else None)


def ahead(gold_arm: bool) -> str:
    """The steps of a distillation, and how long they take together."""
    second = ", and one on gold labels" if gold_arm else ""
    return f"the teacher answers, a student is trained{second}, test is read (usually 10-30 min in all on two cores)"


def again(folder: Distilled) -> None:
    """What a finished distillation found, as it stands: to time a part of it anew would mix two states of a machine."""
    from distill.verdict import Verdict

    click.echo(f"{folder.path} is finished; this is what it found.", err=True)
    verdict = Verdict.from_json(json.loads(folder.verdict_path.read_text(encoding="utf-8")))
    show(folder.path, verdict, folder.settings().seed, None)


def show(folder: Path, verdict: Verdict, seed: int, best: Path | None) -> None:
    """The arms, the sentence, the files and the next command."""
    from distill.card import terminal
    from distill.verdict import sentence

    out = Console(highlight=False)
    out.print(terminal(verdict, seed))
    out.print(f"\n{sentence(verdict)}\n", soft_wrap=True)
    for line in whereabouts(folder, best):
        click.echo(line)


def whereabouts(folder: Path, best: Path | None) -> list[str]:
    """Files, and the command to type next; `best` is the prompt that the same server can hold."""
    from distill.folder import Distilled

    serve = pasted("serve", best, "--adapter", folder) if best else pasted("serve", "--adapter", folder)
    made = Distilled(folder)
    return [
        f"model card  {near(folder / 'README.md')}",
        f"look at it  {near(folder / 'report.html')}",
        f"{'serve both' if best else 'serve it  '}  {serve}",
        *([f"or merged   {pasted('serve', made.merged_dir)}"] if made.merged_prompt_path.is_file() else []),
    ]


def report(path: Path) -> None:
    """A folder's page, made again; of an unfinished one, how far it has come."""
    from distill.folder import Distilled
    from distill.report import write_report

    folder, _ = Distilled.open(path)
    write_report(folder)
    click.echo(near(folder.path / "report.html"))


def follow(path: Path) -> None:
    """A further process of `accelerate launch`: waits for the first one's lessons, then trains beside it."""
    from distill.folder import Distilled
    from distill.pipeline import Steps
    from distill.plan import plan
    from distill.teach import recall_taught
    from optimizer.progress import Watch

    while not (path / "work" / "taught.json").is_file():
        time.sleep(WAIT_S)
    folder, settings = Distilled.open(path)
    with Watch(Console(stderr=True, quiet=True)) as watch:
        planned = plan(settings, watch.say)
        taught = recall_taught(folder, planned)
        if taught is not None:
            Steps(planned, settings, folder, watch).train(taught)


def to_settings(options: dict[str, Any]) -> Settings:
    """The settings that the command line states."""
    from distill.hyper import ALL_LINEAR, Hyper
    from distill.ladder import Rules
    from distill.settings import Settings
    from optimizer.endpoints import Source

    targets = options["targets"]
    named = targets if targets == ALL_LINEAR else tuple(part.strip() for part in targets.split(","))
    hyper = Hyper(
        r=int(options["r"]),
        targets=named,
        **{n: options[n] for n in ("alpha", "rslora", "lr", "epochs", "batch", "precision", "seed")},
    )
    paths: dict[str, Any] = {
        name: str(options[name]) if options[name] else None for name in ("teacher", "recipe", "unlabelled")
    }
    return Settings(
        from_prompt=str(options["from_prompt"]),
        source=Source(options["base_url"], options["api_key_env"], options["window"]),
        rules=Rules(keep=options["keep"], most=options["most"], gold=options["gold"]),
        hyper=hyper,
        gold_arm=not options["no_gold_arm"],
        **paths,
        **{
            name: options[name]
            for name in ("student", "k", "temperature", "drop_leaks", "layout", "search", "merge", "seed")
        },
    )


def main() -> None:
    """The console entry."""
    with exit_codes():
        distill(standalone_mode=False)


if __name__ == "__main__":
    main()
