"""The command `distill`: arguments in, exit code out (optimizer/errors.py says which)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from distill.settings import Settings
from optimizer.errors import UserError
from optimizer.exits import exit_codes

WAIT_S = 2.0
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--from-prompt", type=FILE, metavar="BEST.json", help="The prompt to distil, as optimize wrote it.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("distilled"),
    show_default=True,
    help="Where the adapter, its card and the verdict go.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Go on with a folder; no stored call and no finished epoch is repeated.",
)
@click.option("--student", metavar="MODEL", help="The model to train.  [default: the prompt's]")
@click.option("--teacher", type=FILE, metavar="BEST.json", help="Another prompt that answers, say of a larger model.")
@click.option("--recipe", type=FILE, help="Where the recipe lies, if it has moved.")
@click.option("--base-url", help="Ask the teacher at this OpenAI-compatible endpoint (…/v1).")
@click.option("--api-key-env", default="OPENAI_API_KEY", show_default=True, help="Variable that holds its key.")
@click.option("--window", type=click.IntRange(1, 4096), default=64, show_default=True, help="Requests in flight.")
@click.option("--unlabelled", type=FILE, metavar="ROWS.jsonl", help="More inputs for the teacher to answer.")
@click.option(
    "-k", type=click.IntRange(0), default=4, show_default=True, help="Sampled replies a row, beside a greedy one."
)
@click.option("--temperature", type=click.FloatRange(0), default=0.8, show_default=True, help="Of the sampled replies.")
@click.option(
    "--keep",
    type=click.FloatRange(0, 1),
    help="Learn from answers that score so much.  [default: 1, or 0.8 of a graded metric]",
)
@click.option(
    "-m", "most", type=click.IntRange(1), default=1, show_default=True, help="Distinct right answers kept a row."
)
@click.option("--gold", is_flag=True, help="Add the labels of rows that the teacher never got right.")
@click.option("--drop-leaks", is_flag=True, help="Leave out train rows that nearly equal a dev or test row.")
@click.option(
    "--layout", type=click.Choice(["raw", "chat"]), default="raw", show_default=True, help="Of the student's prompt."
)
@click.option(
    "--rank", "r", type=click.Choice(["8", "16", "32", "64"]), default="16", show_default=True, help="LoRA's rank."
)
@click.option("--alpha", type=click.IntRange(1), help="LoRA's alpha.  [default: twice the rank]")
@click.option("--targets", default="all-linear", show_default=True, help="Modules to adapt, with commas between.")
@click.option("--rslora", is_flag=True, help="Scale by the root of the rank.")
@click.option("--lr", type=float, default=5e-4, show_default=True, help="Learning rate.")
@click.option("--epochs", type=click.IntRange(1), default=3, show_default=True, help="At most; dev may end it earlier.")
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True, help="Lessons an update.")
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True, help="Of the base."
)
@click.option(
    "--search", type=click.IntRange(0), default=0, show_default=True, help="Trainings to try, over lr, rank and epochs."
)
@click.option("--no-gold-arm", is_flag=True, help="Train no student on the labels to compare with.")
@click.option("--merge", is_flag=True, help="Also write base and adapter as one model.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every random choice.")
@click.version_option(package_name="promptstill")
@click.pass_context
def distill(context: click.Context, /, **options: Any) -> None:
    """Train a small model to do with a bare prompt what the best prompt does, and measure whether it was worth it.

    \b
    distill --from-prompt best.json
    distill --from-prompt best.json --unlabelled more.jsonl -m 2 --search 8
    """
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
    from distill.card import terminal
    from distill.folder import Distilled
    from distill.pipeline import Steps
    from distill.plan import plan
    from distill.verdict import sentence
    from optimizer.progress import Watch

    if int(os.environ.get("RANK", "0")) > 0:
        follow(options["resume"] or options["output"])
        return
    out, err = Console(highlight=False), Console(stderr=True, highlight=False)
    with Watch(err) as watch:
        settings = Distilled.open(options["resume"])[1] if options["resume"] else to_settings(options)
        planned = plan(settings, watch.say)
        folder = Distilled(options["resume"]) if options["resume"] else Distilled.create(options["output"], settings)
        watch.say(f"{len(planned.rows)} rows to learn from, {planned.leaks} leaks dropped; folder {folder.path}")
        try:
            made = Steps(planned, settings, folder, watch).run()
        except BaseException:
            watch.say(f"to go on: distill --resume {folder.path}")
            raise
        from distill.artifact import write

        write(folder, made)
    out.print(terminal(made.verdict, settings.seed))
    out.print(f"\n{sentence(made.verdict)}\n", soft_wrap=True)
    out.print(f"model card  {folder.path / 'README.md'}\nlook at it  {folder.path / 'report.html'}")
    out.print(f"serve both  serve {settings.from_prompt} --adapter {folder.path}")


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
