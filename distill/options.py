"""The options of `distill`, in the order of its help. What they mean together is `cli.py`'s matter."""

from __future__ import annotations

from pathlib import Path

import click

from optimizer.help import files, option, with_options

TASK, TEACHER, STUDENT, INSTEAD = "What is distilled", "The teacher", "The student", "Instead"
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
COUNT = click.IntRange(1)

task = with_options(
    option(TASK, "--from-prompt", type=FILE, metavar="BEST.json", help="The prompt to distil, as optimize wrote it."),
    option(
        TASK, "-o", "--output", type=FOLDER, metavar="FOLDER", default=Path("distilled"), show_default=True,
        help="Where the result goes.",
    ),
    option(TASK, "--student", metavar="MODEL", shell_complete=files, help="Model to train.  [default: the prompt's]"),
    option(TASK, "--recipe", rare=True, type=FILE, metavar="FILE.py", help="Where the recipe lies, if it has moved."),
    option(TASK, "--seed", rare=True, type=int, metavar="N", default=0, show_default=True,
           help="Seed of every random choice."),
    option(TASK, "--resume", type=FOLDER, metavar="FOLDER", help="Go on: no stored call, no finished epoch again."),
)  # fmt: skip

teacher = with_options(
    option(TEACHER, "--teacher", type=FILE, metavar="BEST.json", help="Another prompt, say of a larger model."),
    option(TEACHER, "--base-url", metavar="URL", help="Ask it at this OpenAI-compatible endpoint (…/v1)."),
    option(
        TEACHER, "--api-key-env", rare=True, metavar="NAME", default="OPENAI_API_KEY", show_default=True,
        help="Variable that holds its key.",
    ),
    option(
        TEACHER, "--window", rare=True, type=click.IntRange(1, 4096), metavar="N", default=64, show_default=True,
        help="Requests in flight.",
    ),
    option(TEACHER, "--unlabelled", type=FILE, metavar="ROWS.jsonl", help="More inputs for it to answer."),
    option(
        TEACHER, "-k", type=click.IntRange(0), metavar="N", default=4, show_default=True,
        help="Sampled replies a row, beside a greedy one.",
    ),
    option(
        TEACHER, "--temperature", rare=True, type=click.FloatRange(0), metavar="T", default=0.8, show_default=True,
        help="Of the sampled replies.",
    ),
    option(
        TEACHER, "--keep", type=click.FloatRange(0, 1), metavar="SCORE",
        help="Least score to learn from.  [default: 1; graded: 0.8]",
    ),
    option(
        TEACHER, "-m", "most", type=COUNT, metavar="N", default=1, show_default=True,
        help="Distinct right answers kept a row.",
    ),
    option(TEACHER, "--gold", is_flag=True, help="Add labels of rows that the teacher never got right."),
    option(TEACHER, "--drop-leaks", is_flag=True, help="Leave out train rows near a dev or test row."),
)  # fmt: skip

student = with_options(
    option(
        STUDENT, "--search", type=click.IntRange(0), metavar="N", default=0, show_default=True,
        help="Trainings to try, over lr, rank and epochs.",
    ),
    option(STUDENT, "--lr", type=float, metavar="X", default=5e-4, show_default=True, help="Learning rate."),
    option(
        STUDENT, "--epochs", type=COUNT, metavar="N", default=3, show_default=True,
        help="At most; dev may end it earlier.",
    ),
    option(
        STUDENT, "--rank", "r", type=click.Choice(["8", "16", "32", "64"]), metavar="N", default="16",
        show_default=True, help="LoRA's rank: 8, 16, 32 or 64.",
    ),
    option(STUDENT, "--alpha", rare=True, type=COUNT, metavar="N", help="LoRA's alpha.  [default: twice the rank]"),
    option(
        STUDENT, "--targets", rare=True, metavar="NAMES", default="all-linear", show_default=True,
        help="Modules to adapt, with commas between.",
    ),
    option(STUDENT, "--rslora", rare=True, is_flag=True, help="Scale by the root of the rank."),
    option(
        STUDENT, "--batch", rare=True, type=COUNT, metavar="N", default=16, show_default=True,
        help="Lessons an update.",
    ),
    option(
        STUDENT, "--precision", rare=True, type=click.Choice(["auto", "fp32", "bf16"]), metavar="NAME", default="auto",
        show_default=True, help="Of the base: auto, fp32 or bf16.",
    ),
    option(
        STUDENT, "--layout", rare=True, type=click.Choice(["raw", "chat"]), metavar="NAME", default="raw",
        show_default=True, help="Of its prompt: raw or chat.",
    ),
    option(STUDENT, "--no-gold-arm", rare=True, is_flag=True, help="Train none on the labels to compare with."),
    option(STUDENT, "--merge", is_flag=True, help="Also write base and adapter as one model: faster on a CPU."),
)  # fmt: skip

instead = option(INSTEAD, "--report", type=FOLDER, metavar="FOLDER", help="Make a folder's report.html again.")
