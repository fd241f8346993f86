"""The options of `optimize`, in the order of its help. What they mean together is `cli.py`'s matter."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from optimizer.command.values import ROLES, FoldCount
from optimizer.run.effort import EFFORTS
from promptstill.command.asking import asking_options
from promptstill.command.engine import engine_options
from promptstill.command.help import complete_files, option, with_options
from promptstill.command.limits import limit_options
from promptstill.command.rivals import rival_options
from promptstill.prompt.layouts import LAYOUTS
from promptstill.task.shipped import shipped_recipes, subject
from promptstill.text import one_of

TASK, SEARCH, INSTEAD = "The task", "The search", "Instead of a search"
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
COUNT = click.IntRange(1)
MODEL = "Instead of the recipe's: a folder, a hub id or NAME[@URL]; may repeat."


def complete_shipped(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completion with the names of the recipes that come with promptstill."""
    known = shipped_recipes().items()
    return [CompletionItem(name, help=subject(path)) for name, path in known if name.startswith(incomplete)]


task_options = with_options(
    option(TASK, "-p", "parameters", multiple=True, metavar="KEY=VALUE", help="Set a parameter of the recipe."),
    option(TASK, "--model", "models", multiple=True, metavar="MODEL", shell_complete=complete_files, help=MODEL),
    option(TASK, "--base-url", metavar="URL", help="Ask this OpenAI-compatible endpoint (…/v1); start no vLLM."),
    option(
        TASK, "--api-key-env", rare=True, multiple=True, metavar="[ROLE=]NAME",
        help="Variable with the key; ROLE: proposer, judge.  [default: OPENAI_API_KEY]",
    ),
    *engine_options(TASK),
    option(
        TASK, "-o", "--output", type=FILE, metavar="FILE", default=Path("best.json"), show_default=True,
        help="Where the best prompt goes.",
    ),
    option(
        TASK, "--runs", rare=True, type=FOLDER, metavar="FOLDER", default=Path("runs"), show_default=True,
        help="Where run folders go.",
    ),
)  # fmt: skip

search_options = with_options(
    option(
        SEARCH, "--effort", type=click.Choice(list(EFFORTS)), metavar="EFFORT",
        help="light, medium or heavy: 500, 1,500, 5,000 calls.  [default: light]",
    ),
    option(SEARCH, "--trials", rare=True, type=COUNT, metavar="N", help="Candidates to try, in place of an effort."),
    option(SEARCH, "--instructions-only", rare=True, is_flag=True, help="Change nothing but the instruction."),
    option(SEARCH, "--demos-only", rare=True, is_flag=True, help="Change nothing but the demos."),
    option(
        SEARCH, "--layout", "layouts", multiple=True, type=click.Choice(list(LAYOUTS)), metavar="LAYOUT",
        help=f"Only {one_of(LAYOUTS)}; may be repeated.",
    ),
    option(
        SEARCH, "--proposer", metavar="MODEL",
        help="Proposes instructions: NAME[@URL], or none.  [default: the model]",
    ),
    option(
        SEARCH, "--judge", rare=True, metavar="MODEL", help="Marks answers in place of the metric's judge: NAME[@URL].",
    ),
    option(
        SEARCH, "--proposals", rare=True, type=click.IntRange(0, 100), metavar="N", default=4, show_default=True,
        help="Instructions to ask for.",
    ),
    option(SEARCH, "--seed", type=int, metavar="N", default=0, show_default=True, help="Seed of the random choices."),
    option(
        SEARCH, "--split-seed", rare=True, type=int, metavar="N", default=0, show_default=True,
        help="Seed of the deal of rows into train, dev, test.",
    ),
    *limit_options(SEARCH, ROLES, calls="test included"),
    *asking_options(SEARCH),
    option(
        SEARCH, "--draws", rare=True, type=click.IntRange(1, 100), metavar="N", default=1, show_default=True,
        help="Ask each row N times, where replies are samples.",
    ),
    option(SEARCH, "--no-race", rare=True, is_flag=True, help="Score every trial on all of dev."),
    option(
        SEARCH, "--max-prompt-tokens", rare=True, type=COUNT, metavar="N",
        help="Longest prompt of a candidate, in the mean.",
    ),
    option(
        SEARCH, "--within", rare=True, type=click.FloatRange(0, 100), metavar="POINTS", default=0.0,
        help="The cheapest within so many points of the best on dev wins.",
    ),
    option(
        SEARCH, "--no-calibration", "calibrates", rare=True, is_flag=True, flag_value=False, default=True,
        help="Leave the model's bias for some labels as it is.",
    ),
    option(
        SEARCH, "--no-dspy", "dspy", rare=True, is_flag=True, flag_value=False, default=True,
        help="Leave DSPy's default out of test.",
    ),
    option(
        SEARCH, "--folds", rare=True, type=FoldCount(), metavar="auto|K|0", default="auto", show_default=True,
        help="Folds of a cross-validation; auto takes 5 below 150 rows.",
    ),
    *rival_options(SEARCH),
    option(SEARCH, "--drop-leaks", is_flag=True, help="Leave out train rows that nearly equal a dev or test row."),
    option(SEARCH, "--storage", rare=True, metavar="URL", help="Optuna study to share.  [default: in the run folder]"),
    option(SEARCH, "--study", rare=True, metavar="NAME", help="Its name there.  [default: the recipe's]"),
    option(SEARCH, "--resume", type=FOLDER, metavar="RUN", help="Go on with a run; no stored call is repeated."),
)  # fmt: skip

instead_options = with_options(
    option(INSTEAD, "--tour", is_flag=True, help="A recorded search replayed and explained; needs no model."),
    option(INSTEAD, "--new", type=FILE, metavar="FILE.py", help="Write a commented recipe to start from."),
    option(
        INSTEAD, "--from", "rows", type=FILE, metavar="ROWS",
        help="With --new or --label-next: these rows, .csv or .jsonl.",
    ),
    option(
        INSTEAD, "--like", metavar="NAME", shell_complete=complete_shipped,
        help="With --new: a copy of a shipped recipe, such as tickets, with its rows.",
    ),
    option(INSTEAD, "--check", is_flag=True, help="Check the recipe and its rows; ask no model."),
    option(
        INSTEAD, "--plan", rare=True, is_flag=True,
        help="Calls, tokens, money and time of such a search; ask no model.",
    ),
    option(
        INSTEAD, "--measure", is_flag=True,
        help="Score prompts on test: optimize RECIPE.py --measure mine.md …",
    ),
    option(INSTEAD, "--show", type=FILE, metavar="BEST.json", help="Print a prompt as Markdown."),
    option(
        INSTEAD, "--as", "form", rare=True, type=click.Choice(["md", "json"]), metavar="FORM",
        help="With --show: as a file that Recipe(baseline=…) reads, md or json.",
    ),
    option(INSTEAD, "--report", rare=True, type=FOLDER, metavar="RUN", help="Make a run's report.html again."),
    option(INSTEAD, "--compare", is_flag=True, help="Runs side by side: optimize --compare RUN RUN…"),
    option(
        INSTEAD, "--label-next", rare=True, type=COUNT, metavar="N",
        help="The N unlabelled rows to label first: optimize --label-next N RUN",
    ),
    option(
        INSTEAD, "--gate", type=FILE, metavar="BEST.json", help="Score a prompt on dev again; exit code 3 on a drop."
    ),
    option(
        INSTEAD, "--max-drop", rare=True, type=click.FloatRange(0, 1), metavar="SHARE", default=0.02, show_default=True,
        help="What --gate lets pass as noise.",
    ),
)  # fmt: skip
