"""The command `optimize`: arguments in, exit code out.

Exit codes: 0 done (also when a budget ended the search), 1 the machinery failed, 2 a mistake in the input, 3 the gate
failed, 130 and 143 stopped by Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import click
from rich.console import Console
from rich.text import Text

from optimizer.budget import Budget
from optimizer.errors import BudgetReached, PromptstillError, UserError
from optimizer.exits import exit_codes, run_async
from optimizer.files import write_text
from optimizer.help import Command, files
from optimizer.options import instead, search, task
from optimizer.prompt import Layout, Prompt
from optimizer.shell import near, pasted
from optimizer.starter import write_starter

EXAMPLES = """
optimize recipes/qa.py                    # the embedded model: no key, no GPU
optimize recipes/qa.py -p data=mine.jsonl --check
optimize recipes/qa.py --base-url http://127.0.0.1:8000/v1 --model NAME
optimize --new mine.py                    # a recipe of your own
"""
CODES = (
    ("0", "done; also when a limit ended the search"),
    ("1", "the machinery failed: engine, endpoint, disk"),
    ("2", "a mistake in recipe, rows or options"),
    ("3", "--gate: the prompt dropped"),
    ("130, 143", "stopped by Ctrl-C, by SIGTERM"),
)
BUDGETS = {"max_calls": "calls", "max_tokens": "tokens", "max_usd": "usd", "max_minutes": "minutes"}


@click.command(cls=Command, examples=EXAMPLES, codes=CODES)
@click.argument("targets", nargs=-1, metavar="RECIPE.py[:NAME]", shell_complete=files)
@task
@search
@instead
@click.version_option(package_name="promptstill")
@click.pass_context
def optimize(context: click.Context, /, **options: Any) -> None:
    """Find the best prompt for a recipe's task; measure its gain once, on rows the search never saw."""
    chosen = {name for name in options if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE}
    if options["compare"]:
        compare(options, chosen)
        return
    options["recipe"] = to_recipe(options["targets"])
    if options["new"]:
        write_starter(options["new"])
        check = pasted("optimize", options["new"], "--check")
        click.echo(f"{options['new']} is written. Put your rows into it, then: {check}")
    elif options["show"]:
        click.echo(Prompt.load(options["show"]).to_markdown())
    elif options["report"]:
        report(options["report"])
    elif options["gate"]:
        gate(options)
    elif options["recipe"] or options["resume"]:
        work(options, chosen)
    else:
        raise UserError(
            "Which recipe?", "optimize takes a recipe file, or --resume RUN.", "Try: optimize recipes/qa.py"
        )


def compare(options: dict[str, Any], chosen: set[str]) -> None:
    """Several runs side by side, here and in compare.html."""
    from optimizer.compare import compare as side_by_side

    output = options["output"] if "output" in chosen else Path("compare.html")
    table, highest = side_by_side([Path(target) for target in options["targets"]], output)
    Console(highlight=False).print(table)
    click.echo(f"look at it        {near(output)}")
    click.echo(f"read the highest  {pasted('optimize', '--show', highest)}")


def report(path: Path) -> None:
    """A run's page, made again."""
    from optimizer.report import write_report
    from optimizer.run import RunFolder

    run = RunFolder.open(path)
    write_report(run)
    click.echo(run.report_path)


def gate(options: dict[str, Any]) -> None:
    """Ends the process with 3 where the prompt dropped."""
    from optimizer.endpoints import Source
    from optimizer.gate import FAILED
    from optimizer.gate import gate as score_again

    source = Source(options["base_url"], options["api_key_env"], options["window"])
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
    if outcome.failed:
        click.echo(f"search again: {pasted('optimize', outcome.recipe)}")
    else:
        click.echo(f"serve it: {pasted('serve', options['gate'])}")
    sys.exit(FAILED if outcome.failed else 0)


def work(options: dict[str, Any], chosen: set[str]) -> None:
    """Prepare, then run with an engine."""
    from optimizer import pipeline, prepare
    from optimizer.endpoints import answering
    from optimizer.examples import described
    from optimizer.forecast import refuse_small, sight
    from optimizer.progress import Watch
    from optimizer.summary import summary, twice, whereabouts

    out, err = Console(highlight=False), Console(stderr=True, highlight=False)
    settings = to_settings(options, chosen)
    prepared = prepare.prepare(settings)
    rows = [*described(prepared.splits, prepared.loaded.recipe), sight(len(prepared.splits.dev))]
    if options["check"]:
        for line in rows:
            out.print(line)
        out.print(Text(f"{prepared.loaded.path}: the recipe {prepared.name} is in order"), soft_wrap=True)
        click.echo(f"next: {pasted('optimize', *(word for word in sys.argv[1:] if word != '--check'))}")
        return
    refuse_small(settings.budget.calls, 0, len(prepared.splits.dev), len(prepared.splits.test))
    with Watch(err) as watch:
        for line in rows:
            watch.say(line)
        run = prepare.open_run(settings, prepared, options["runs"], options["resume"])
        worker, lock = run.join()
        watch.say(f"run folder {run.path}" + (f" (worker {worker})" if worker else ""))
        try:
            model = prepare.model_for(settings, prepared, watch)
            log_path = run.logs_dir / f"engine-{worker}.log"
            with lock, answering(settings.source, model, log_path, watch.say) as served:
                steps = pipeline.optimize(prepared, settings, served, model, run, watch, worker)
                result = run_async(steps)
        except (KeyboardInterrupt, PromptstillError):
            watch.say(f"to go on: {pasted('optimize', '--resume', run.path)}")
            raise
        except BudgetReached as reached:
            watch.say(f"{reached} is reached before any prompt was scored on dev: nothing to choose from")
            watch.say(f"to go on: {twice(run.path, str(reached))}")
            return
    if result.artifact is None:
        click.echo(f"Worker {worker} has done its part; worker 0 chooses, reads test and writes {run.best_path}.")
        return
    write_text(options["output"], run.best_path.read_text(encoding="utf-8"))
    out.print(summary(result), crop=False)
    for line in whereabouts(result, options["output"]):
        click.echo(line)


def to_settings(options: dict[str, Any], chosen: set[str]) -> Any:
    """The run's settings: from the command line, or a resumed run's with what the command line changes."""
    from optimizer.run import RunFolder
    from optimizer.settings import Settings

    if options["resume"]:
        saved = Settings.from_json(RunFolder.open(options["resume"]).record["settings"])
        own = {name: options[name] for name in ("base_url", "api_key_env", "window", "trials") if name in chosen}
        limits = {BUDGETS[name]: options[name] for name in BUDGETS if name in chosen}
        return replace(saved, **own, budget=replace(saved.budget, **limits))
    budget = Budget(**{field: options[name] for name, field in BUDGETS.items()}, price=to_price(options["price"]))
    names = (
        "recipe",
        "model",
        "base_url",
        "api_key_env",
        "proposer",
        "proposals",
        "trials",
        "seed",
        "window",
        "storage",
        "study",
    )
    return Settings(
        **{name: options[name] for name in names},
        parameters=to_parameters(options["parameters"]),
        budget=budget,
        layouts=cast("tuple[Layout, ...]", tuple(options["layouts"])),
        race=not options["no_race"],
    )


def to_recipe(targets: tuple[str, ...]) -> str | None:
    """The one recipe, if any."""
    if len(targets) > 1:
        raise UserError(f"optimize takes one recipe, not {len(targets)}.", "", "To compare runs, add --compare.")
    return targets[0] if targets else None


def to_parameters(given: tuple[str, ...]) -> dict[str, str]:
    """`KEY=VALUE` pairs."""
    for pair in given:
        if "=" not in pair:
            raise UserError(f"-p {pair} is no KEY=VALUE.", "", "Write, for instance: -p data=mine.jsonl")
    return dict(cast("tuple[str, str]", tuple(pair.split("=", 1))) for pair in given)


def to_price(text: str | None) -> tuple[float, float]:
    """`IN,OUT` in USD per million tokens."""
    try:
        prompt, completion = (float(part) for part in text.split(",")) if text else (0.0, 0.0)
    except ValueError:
        raise UserError(
            f"--price {text} is no pair of numbers.", "", "Write, for instance: --price 0.15,0.60"
        ) from None
    return prompt, completion


def main() -> None:
    """The console entry."""
    with exit_codes():
        optimize(standalone_mode=False)


if __name__ == "__main__":
    main()
