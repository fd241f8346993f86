"""A measurement in words: each prompt on each model with its interval, its cost, and the difference to the first."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from optimizer.command.summary import cells, gain_text, points, score_cells, unbroken_line
from optimizer.measure.measurement import Cell, Difference, Measurement
from promptstill.command.tables import narrow_table
from promptstill.scoring.rivals.report import LABELS, rival_note
from promptstill.scoring.test_report import bonferroni_note, cut_note, group_note
from promptstill.shell import short_path
from promptstill.text import plural

SHOWN_IDS = 5  # of rows gained or lost


def measured(made: Measurement) -> RenderableType:
    """What the terminal shows of a measurement."""
    parts: list[RenderableType] = []
    if made.cells:
        parts += [*tables(made), Text(""), *map(unbroken_line, notes(made))]
    if made.stopped:
        parts.append(unbroken_line(f"{made.stopped} ended it; a prompt that is not shown was not asked on all rows."))
    total = made.allowance.total
    usd = f", {made.allowance.usd:.2f} USD" if made.allowance.usd else ""
    parts.append(unbroken_line(f"{total.calls:,} calls, {total.tokens:,} tokens{usd}"))
    return Group(*parts)


def tables(made: Measurement) -> Iterator[Table]:
    """The scores of prompts by models, where there are several; then every figure, a table for each model."""
    models = model_names(made)
    if len(models) > 1:
        yield score_table(made, models)
    for model in models:
        yield figures_table(made, model)


def figures_table(made: Measurement, model: str) -> Table:
    """The prompts on one model."""
    count = f"{plural(made.winners, 'prompt')} evaluated on them so far"
    figures = ("score", "95 % interval", "unparsed", "tokens in", "out", "seconds")
    priced = ("USD/1,000",) if any(made.allowance.limits.price) else ()
    title = f"test: {made.cells[0].report.score.n} rows, {count}; {model}"
    table = narrow_table(title, "prompt", *figures, *priced)
    for cell in made.cells:
        if cell.model == model:
            usd = [f"{made.usd(cell):.2f}"] if priced else []
            table.add_row(cell.prompt, *cells(cell.report), f"{cell.report.seconds:.2f}", *usd)
    for name, rival in made.over_rivals[0].items():
        table.add_row(LABELS[name], *score_cells(rival.score))
    return table


def model_names(made: Measurement) -> list[str]:
    """The models in the order in which they were asked."""
    return list(dict.fromkeys(cell.model for cell in made.cells))


def score_table(made: Measurement, models: list[str]) -> Table:
    """A row for each prompt, a column for each model."""
    table = narrow_table("score on test by model", "prompt", *models)
    found = {(cell.prompt, cell.model): points(cell.report.score.mean) for cell in made.cells}
    for prompt in dict.fromkeys(cell.prompt for cell in made.cells):
        table.add_row(prompt, *(found.get((prompt, model), "") for model in models))
    return table


def label(cell: Cell, models: list[str]) -> str:
    return f"{cell.prompt} on {cell.model}" if len(models) > 1 else cell.prompt


def notes(made: Measurement) -> Iterator[str]:
    """Each difference to the first, and what a reader should doubt."""
    models = model_names(made)
    first = label(made.cells[0], models)
    yield from rival_notes(made, models)
    for cell, difference in zip(made.cells, made.differences, strict=True):
        if difference:
            yield f"{label(cell, models)} over {first}: {gain_text(difference.gain)}"
            yield f"  rows gained: {row_list(difference.gained)}; rows lost: {row_list(difference.lost)}"
    if compared := next((one for one in made.differences if one), None):
        yield from filter(None, [group_note(compared.gain.n, compared.gain.worth)])
    yield from port_notes(made, models)
    shares = {label(cell, models): cell.report.cut for cell in made.cells}
    if note := cut_note(shares, made.cells[0].report.score.n):
        yield note
    if made.winners > 1 and (best := best_difference(made)):
        yield bonferroni_note(best.gain.p, made.winners, "prompts", "the first")


def rival_notes(made: Measurement, models: list[str]) -> Iterator[str]:
    """Whether a rival does as well as the prompt that scores highest, and its gain over each."""
    best, rivals = made.cells[made.highest], made.over_rivals[made.highest]
    if note := rival_note(best.report.score.mean, rivals):
        yield note
    for name, rival in rivals.items():
        yield f"{label(best, models)} over {LABELS[name]}: {gain_text(rival.gain)}"


def port_notes(made: Measurement, models: list[str]) -> Iterator[str]:
    """What each prompt gains and loses on another model than that on which it was found."""
    for cell, port in zip(made.cells, made.ports, strict=True):
        if not cell.is_port or cell.origin is None:
            continue
        found = cell.origin.model
        if port:
            yield f"{cell.prompt} on {cell.model} over {found}, on which it was found: {gain_text(port.gain)}"
            yield f"  rows gained: {row_list(port.gained)}; rows lost: {row_list(port.lost)}"
        else:
            yield f"To see the rows that {cell.prompt} gains and loses by its port from {found}, add --model {found}."


def best_difference(made: Measurement) -> Difference | None:
    """The difference of the prompt that gains most; None where none gains."""
    gaining = [one for one in made.differences if one and one.gain.mean > 0]
    return max(gaining, key=lambda one: one.gain.mean, default=None)


def row_list(ids: tuple[str, ...]) -> str:
    """The number of rows, and the ids of the first."""
    more = ", …" if len(ids) > SHOWN_IDS else ""
    return f"{len(ids)} ({', '.join(ids[:SHOWN_IDS])}{more})" if ids else "0"


def next_steps(made: Measurement) -> list[str]:
    """Where the figures and the replies are."""
    steps = [f"figures      {short_path(made.folder.path / 'measure.json')}"]
    return [*steps, f"each reply   {short_path(made.folder.test_path)}"] if made.cells else steps
