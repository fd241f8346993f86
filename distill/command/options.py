"""The options of `distill`, in the order of its help. cli.py turns them into settings."""

from __future__ import annotations

from pathlib import Path

import click

from promptstill.command.asking import asking_options
from promptstill.command.engine import engine_options
from promptstill.command.help import complete_files, option, with_options
from promptstill.command.limits import limit_options
from promptstill.command.rivals import rival_options

TASK, TEACHER, STUDENT, INSTEAD = "What to distil", "The teacher", "The student", "Instead of distilling"
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
COUNT = click.IntRange(1)

task = with_options(
    option(TASK, "--from-prompt", type=FILE, metavar="BEST.json", help="The prompt to distil, as optimize wrote it."),
    option(
        TASK, "-o", "--output", type=FOLDER, metavar="FOLDER", default=Path("distilled"), show_default=True,
        help="Folder for the result.",
    ),
    option(
        TASK, "--student", metavar="MODEL", shell_complete=complete_files,
        help="Model to train.  [default: the prompt's model]",
    ),
    option(TASK, "--recipe", rare=True, type=FILE, metavar="FILE.py", help="The recipe file, if it has moved."),
    option(
        TASK, "--judge", rare=True, metavar="MODEL", help="Marks answers in place of the metric's judge: NAME[@URL].",
    ),
    option(TASK, "--seed", rare=True, type=int, metavar="N", default=0, show_default=True,
           help="Seed of every random choice."),
    *engine_options(TASK),
    option(TASK, "--resume", type=FOLDER, metavar="FOLDER", help="Go on with FOLDER where it stopped."),
)  # fmt: skip

teacher = with_options(
    option(
        TEACHER, "--teacher", metavar="BEST.json", shell_complete=complete_files,
        help="Another teacher, say of a larger model; or MODEL@URL.",
    ),
    option(TEACHER, "--base-url", metavar="URL", help="Its OpenAI-compatible endpoint (…/v1)."),
    option(
        TEACHER, "--api-key-env", rare=True, multiple=True, metavar="[ROLE=]NAME",
        help="Variable with its key; ROLE: teacher, judge.  [default: OPENAI_API_KEY]",
    ),
    *asking_options(TEACHER),
    *limit_options(TEACHER, ("teacher", "judge"), calls="the judge's included", rare=True),
    option(
        TEACHER, "--unlabelled", type=FILE, metavar="ROWS.jsonl", help="More rows, without labels, for it to answer."
    ),
    option(
        TEACHER, "-k", type=click.IntRange(0), metavar="N", default=4, show_default=True,
        help="Sampled replies per row, besides a greedy one.",
    ),
    option(
        TEACHER, "--temperature", rare=True, type=click.FloatRange(0), metavar="T", default=0.8, show_default=True,
        help="Temperature of the sampled replies.",
    ),
    option(
        TEACHER, "--keep", type=click.FloatRange(0, 1), metavar="SCORE",
        help="Lowest score to train on.  [default: 1; 0.8 for partial scores]",
    ),
    option(
        TEACHER, "-m", "max_per_row", type=COUNT, metavar="N", default=1, show_default=True,
        help="Most different right answers to use per row.",
    ),
    option(TEACHER, "--gold", is_flag=True, help="Train on labels where the teacher was never right."),
    option(TEACHER, "--drop-leaks", is_flag=True, help="Leave out rows that nearly equal a dev or test row."),
)  # fmt: skip

student = with_options(
    option(
        STUDENT, "--search", type=click.IntRange(0), metavar="N", default=0, show_default=True,
        help="Trainings to try, with other lr, rank and epochs.",
    ),
    option(STUDENT, "--lr", type=float, metavar="X", default=5e-4, show_default=True, help="Learning rate."),
    option(
        STUDENT, "--epochs", type=COUNT, metavar="N", default=3, show_default=True,
        help="Most epochs; fewer if dev scores stop rising.",
    ),
    option(
        STUDENT, "--rank", "r", type=click.Choice(["8", "16", "32", "64"]), metavar="N", default="16",
        show_default=True, help="LoRA's rank: 8, 16, 32 or 64.",
    ),
    option(STUDENT, "--alpha", rare=True, type=COUNT, metavar="N", help="LoRA's alpha.  [default: twice the rank]"),
    option(
        STUDENT, "--targets", rare=True, metavar="NAMES", default="all-linear", show_default=True,
        help="Modules to adapt, separated by commas.",
    ),
    option(STUDENT, "--rslora", rare=True, is_flag=True, help="Use rsLoRA: scale by the square root of the rank."),
    option(
        STUDENT, "--batch", rare=True, type=COUNT, metavar="N", default=16, show_default=True,
        help="Training rows per update.",
    ),
    option(
        STUDENT, "--precision", rare=True, type=click.Choice(["auto", "fp32", "bf16"]), metavar="NAME", default="auto",
        show_default=True, help="Precision of the base model: auto, fp32 or bf16.",
    ),
    option(
        STUDENT, "--layout", rare=True, type=click.Choice(["raw", "chat"]), metavar="NAME", default="raw",
        show_default=True, help="Layout of the student's prompt: raw or chat.",
    ),
    option(
        STUDENT, "--no-gold-arm", rare=True, is_flag=True,
        help="Do not train a second student, on labels, to compare with.",
    ),
    *rival_options(STUDENT),
    option(STUDENT, "--merge", is_flag=True, help="Also write base and adapter as one model: faster on a CPU."),
)  # fmt: skip

instead = option(INSTEAD, "--report", type=FOLDER, metavar="FOLDER", help="Write a folder's report.html again.")
