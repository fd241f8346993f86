"""The command `optimize`: arguments in, exit code out.

Exit codes: 0 done (also when a limit ended the search), 1 the machinery failed, 2 a mistake in the input, 3 the gate
failed, 130 and 143 stopped by Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from optimizer import instead
from optimizer.command.options import instead_options, search_options, task_options
from optimizer.command.values import KEY_SETTINGS, KEYS, ROLES, one_model, to_parameters, to_recipe
from promptstill.command.engine import refuse_without_engine
from promptstill.command.exits import RESUME_ADVICE, exit_codes
from promptstill.command.help import Command, complete_files
from promptstill.command.limits import LIMITS, changed_limits, to_limits
from promptstill.command.roles import to_keys
from promptstill.endpoint.allowance import LimitReached
from promptstill.errors import UserError
from promptstill.prompt.prompt import Prompt
from promptstill.shell import command_line, short_path

if TYPE_CHECKING:  # heavy: DSPy
    from pathlib import Path

    from optimizer.run.result import RunResult
    from optimizer.run.settings import SearchSettings

EXAMPLES = """
optimize --tour                           # a replay, explained: asks no model
optimize recipes/qa.py                    # the embedded model: no key, no GPU
optimize recipes/qa.py --base-url http://127.0.0.1:8000/v1 --model NAME
optimize --new mine.py --from mails.csv   # a recipe for your rows
"""
CODES = (
    ("0", "done; also when a limit ended the search"),
    ("1", "the machinery failed: engine, endpoint, disk"),
    ("2", "a mistake in recipe, rows or options"),
    ("3", "--gate: the prompt dropped"),
    ("130, 143", "stopped by Ctrl-C, by SIGTERM"),
)
OTHERS = ("new", "rows", "like", "show", "report", "gate", "check", "plan", "resume")  # what is no new search
ALONE = ("tour", "compare", "measure", "label_next", "new", "show", "report", "gate")  # what goes without another
PLACES = ("resume", "runs", "output", "check", "plan")
SETTINGS = (
    *("recipe", "model", "base_url", "api_key_env", "proposer", "proposer_key_env", "proposals"),
    *("judge", "judge_key_env"),
    *("trials", "effort", "seed", "split_seed", "window", "patience", "vllm_args", "gpu_memory"),
    *("calibrates", "within", "max_prompt_tokens", "dspy", "rivals", "embeddings"),
    *("drop_leaks", "draws", "folds", "storage", "study"),
)


@click.command(cls=Command, examples=EXAMPLES, codes=CODES)
@click.argument("targets", nargs=-1, metavar="RECIPE.py[:NAME]", shell_complete=complete_files)
@task_options
@search_options
@instead_options
@click.version_option(package_name="promptstill")
@click.pass_context
def optimize(context: click.Context, /, **options: Any) -> None:
    """Find the best prompt for a recipe's task; measure its gain once, on rows the search never saw."""
    options |= KEYS | {"keys": to_keys(options["api_key_env"], KEY_SETTINGS)}
    options |= options["keys"]
    chosen = {name for name in options if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE}
    refuse_without_engine(options["base_url"], chosen)
    refuse_two(chosen & {*ALONE, "check", "plan"})
    refuse_two(chosen & {"instructions_only", "demos_only"})
    if options["tour"]:
        instead.tour(spelled(chosen - {"tour"}))
    elif options["compare"]:
        instead.compare(options, chosen)
    elif options["measure"]:
        instead.measure(options, chosen)
    elif options["label_next"]:
        instead.label_next(options, chosen, spelled(chosen - instead.WITH_LABELS))
    else:
        take_recipe(options | {"recipe": to_recipe(options["targets"])}, chosen)


def refuse_two(chosen: set[str]) -> None:
    """Refuse two options of which one is possible. Raises `UserError`."""
    if len(chosen) > 1:
        raise UserError(
            f"{' and '.join(spelled(chosen))} do not go together.", "One leaves no room for the other.", "Give one."
        )


def take_recipe(options: dict[str, Any], chosen: set[str]) -> None:
    """What takes one recipe or none: a search, or one of the options in its place."""
    if options["recipe"] and len(options["models"]) > 1 and not any(options[name] for name in OTHERS):
        search_models(options)
        return
    options |= one_model(options)
    if options["new"]:
        instead.write_recipe(options["new"], options["rows"], options["like"])
    elif given := options["rows"] or options["like"]:
        flag = "--from" if options["rows"] else "--like"
        way = command_line("optimize", "--new", "FILE.py", flag, given)
        raise UserError(f"{flag} needs --new.", "It says what the new recipe begins with.", f"Try: {way}")
    elif options["show"]:
        instead.show(Prompt.load(options["show"]), options["form"])
    elif options["report"]:
        instead.report(options["report"])
    elif options["gate"]:
        instead.gate(options)
    elif options["recipe"] or options["resume"]:
        work(options, chosen)
    else:
        raise UserError(
            "Which recipe?", "optimize takes a recipe file, or --resume RUN.", "Try: optimize recipes/qa.py"
        )


def work(options: dict[str, Any], chosen: set[str]) -> None:
    """Check the recipe, or search."""
    settings = resumed_settings(options, chosen) if options["resume"] else to_settings(options)
    if options["check"]:
        check(settings)
    elif options["plan"]:
        plan(settings, options["runs"])
    else:
        search_with(settings, options)


def check(settings: SearchSettings) -> None:
    """Say what the recipe's rows are; no model is asked."""
    from optimizer.launch import data_lines

    opened = settings.open_task()
    for line in data_lines(opened):
        click.echo(line)
    click.echo(f"{opened.recipe_file.path}: the recipe {opened.name} is in order")
    click.echo(f"next: {command_line('optimize', *(word for word in sys.argv[1:] if word != '--check'))}")


def plan(settings: SearchSettings, runs: Path) -> None:
    """Say what such a search would cost; no model is asked."""
    from optimizer.command.plan import plan_lines

    for line in plan_lines(settings, settings.open_task(), runs):
        click.echo(line)


def search_with(settings: SearchSettings, options: dict[str, Any]) -> RunResult | None:
    """Run the search, and show what came of it; None where a limit left nothing to choose from."""
    from optimizer import optimize as search
    from optimizer.command.summary import next_steps, summary
    from optimizer.search.search import NothingToChoose
    from promptstill.command.listeners import terminal_listener

    with terminal_listener(Console(stderr=True, highlight=False)) as listener:
        places: dict[str, Any] = {name: options[name] for name in ("resume", "runs", "output")}
        try:
            result = search(settings, **places, listener=listener)
        except (LimitReached, NothingToChoose):
            return None  # said already, with the way to go on
    if result.best is None:
        best_path = result.run.best_path
        click.echo(f"Worker {result.worker} has done its part; worker 0 chooses, reads test and writes {best_path}.")
        return result
    Console(highlight=False).print(summary(result), crop=False)
    for line in next_steps(result, options["output"]):
        click.echo(line)
    return result


def search_models(options: dict[str, Any]) -> None:
    """A search for each `--model`, then the winners side by side."""
    from optimizer.models import best_lines, plan_searches, refuse_absent
    from optimizer.models import search_models as search_each
    from optimizer.report.compare import compare_runs

    def say(line: str) -> None:
        click.echo(line, err=True)

    searches = plan_searches(to_settings(options | {"model": None}), options["models"], options["output"])
    refuse_absent(searches, say)
    found = search_each(searches, lambda one: search_with(one.settings, options | {"output": one.output}), say)
    if len(found) < 2:
        click.echo(f"{len(found)} of {len(searches)} searches read test: there is nothing to compare.")
        return
    page = options["output"].with_name("compare.html")
    table, _ = compare_runs([one.result.run.path for one in found], page)
    Console(highlight=False).print(table)
    for line in [*best_lines(found), f"look at it  {short_path(page)}"]:
        click.echo(line)


def resumed_settings(options: dict[str, Any], chosen: set[str]) -> SearchSettings:
    """A resumed run's settings, with what the command line changes. Raises `UserError` for what cannot change."""
    from optimizer.run.folder import RunFolder
    from optimizer.run.settings import RESUMABLE, changed_error

    if fixed := chosen - {*RESUMABLE, *LIMITS, *PLACES, "price"}:
        raise changed_error(spelled(fixed))
    saved = RunFolder.open(options["resume"]).settings()
    own = {name: options[name] for name in RESUMABLE if name in chosen - {*KEYS}} | options["keys"]
    if "effort" in chosen or "trials" in chosen:  # the one takes the place of the other
        own |= {name: options[name] for name in ("effort", "trials")}
    return replace(saved, **own, limits=changed_limits(saved.limits, options, chosen, ROLES))


def spelled(names: set[str]) -> list[str]:
    """Options as they are typed, in alphabetical order of their names."""
    words = {parameter.name: parameter.opts[0] for parameter in optimize.params} | {"targets": "the recipe"}
    return [words[name] for name in sorted(names)]


def to_settings(options: dict[str, Any]) -> SearchSettings:
    """The run's settings, from the command line."""
    from optimizer.run.settings import SearchSettings

    return SearchSettings(
        **{name: options[name] for name in SETTINGS},
        parameters=to_parameters(options["parameters"]),
        limits=to_limits(options, ROLES),
        layouts=tuple(options["layouts"]),
        only="instructions" if options["instructions_only"] else "demos" if options["demos_only"] else "everything",
        race=not options["no_race"],
    )


def main() -> None:
    """The console entry."""
    with exit_codes(RESUME_ADVICE):
        optimize(standalone_mode=False)


if __name__ == "__main__":
    main()
