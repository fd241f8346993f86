"""What `optimize --tour` shows, screen by screen. Lines behind `> ` are what a real run prints; each is explained."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table

from optimizer.command.summary import conclusion, costs, table
from optimizer.launch import data_lines
from optimizer.run.result import RunResult
from optimizer.search.space import Space
from optimizer.tour.race import race_table
from optimizer.tour.record import Record
from optimizer.tour.replay import replay, replay_settings
from optimizer.tour.words import ARMS, FIGURES, PROMPTS, meaning
from promptstill.command.listeners import best_line, generation_line
from promptstill.events import Event, GenerationEnded, Message
from promptstill.files import read_json, write_text
from promptstill.prompt.fields import as_text
from promptstill.report.page import count, when
from promptstill.shell import command_line, short_path
from promptstill.task.open import OpenTask

WIDTH = 78
SCREENS = 5


def take_tour(root: Path, record: Record) -> Iterator[RenderableType]:
    """The tour, part by part. The replayed run's folder goes into `root`."""
    yield from opening(record)
    opened = replay_settings(record).open_task()
    yield from task_screen(opened)
    heard: list[str] = []
    result = replay(record, opened, root, lambda event: heard.extend(lines_of(event)))
    yield from race_screen(result, heard)
    yield from verdict_screen(result, record)
    yield from distillation_screen(record)
    page = result.run.path / "distilled.html"
    write_text(page, record.distilled_page(), private=True)
    yield from last_screen(result, page)


def opening(record: Record) -> Iterator[str]:
    search = record.search
    yield f"REPLAY of a search and a distillation of {when(search.recorded_at)}, on {search.model}."
    yield prose(
        "No model is asked now and nothing leaves this machine: what the model replied then is read from a record. "
        "The search itself runs again on these replies: prompts, race, scores and intervals are computed now. Lines "
        "behind > are what a real run prints."
    )


def task_screen(opened: OpenTask) -> Iterator[str]:
    """The recipe, a row of it, and the splits."""
    yield heading(1, "The task")
    yield prose(
        "A recipe is a Python file that says what goes in and what comes out (a DSPy signature), where the labelled "
        "rows are, and how a reply is scored:"
    )
    source = opened.recipe_file.source
    yield "\n" + textwrap.indent(source[source.index("class ") :].strip(), "    ") + "\n"
    row = opened.splits.train[0]
    yield prose("One of its rows; the model gets the inputs, and the metric compares its reply with the label:")
    values = {**row.inputs, **row.outputs}
    wide = max(map(len, values))
    yield "\n" + "\n".join(f"    {name:{wide}}  {shorten(as_text(value), wide)}" for name, value in values.items())
    yield from explained(data_lines(opened))


def race_screen(result: RunResult, heard: list[str]) -> Iterator[RenderableType]:
    """What the search said, and every trial."""
    yield heading(2, "The race")
    yield prose("What the search said on its way:")
    yield from explained(heard)
    yield "\n" + prose(
        "All trials, as report.html shows them too. The score is on dev; ~ marks an estimate, from the rows that a "
        "dropped trial has answered. A + behind the demos: the model reasons in a field before it answers. The wording "
        "is the recipe's instruction, or one that the model proposed."
    )
    yield race(result)
    yield prose(
        'Dropped for one of two reasons. "below 4": worse than trial 4 on the same rows by a paired test (Wilcoxon, '
        'p < 0.1). "not in best 4": of eight the better half goes on after the first block of rows, a quarter after '
        "the second."
    )


def race(result: RunResult) -> Table:
    space = Space.from_json(read_json(result.run.pools_path))
    return race_table(result.outcome.trials, result.outcome.winner.prompt_id, space, result.dev_rows)


def verdict_screen(result: RunResult, record: Record) -> Iterator[RenderableType]:
    """The three prompts on test, and what is claimed for it."""
    yield heading(3, "The verdict on test")
    if result.verdict is None:
        return
    yield table(result.verdict)
    yield from glossary(PROMPTS)
    yield ""
    yield from glossary(FIGURES)
    saved = [line for line in costs(result) if "calls in all" not in line]  # told of the recorded run below
    yield from explained([*conclusion(result.verdict), *saved])
    search = record.search
    yield "\n" + prose(
        f"The recorded run paid for {count(search.calls)} calls with {count(search.tokens)} tokens. This "
        f"replay took {count(result.allowance.reused)} replies from the record and asked no model."
    )
    yield "\n" + prose(
        f"What it does not say: the gain is of this model on these {result.verdict.winner.score.n} questions. Another "
        "model needs its own search. Whoever searches again until test likes a winner has chosen by test; a run counts "
        "that and corrects p for it. Where the interval holds zero, no gain is claimed."
    )


def distillation_screen(record: Record) -> Iterator[str]:
    """The four arms, and the last line."""
    done = record.distillation
    yield heading(4, "From prompt to weights")
    yield prose(
        f"Is a long prompt better, or a trained model? The recorded `{done.command}` let the best prompt answer the "
        f"train rows, kept the right answers, and trained LoRA weights on {done.training_rows} of them. "
        "Its end, as it was shown then:"
    )
    lines = [line.rstrip() for line in done.table.splitlines()]
    gains = [line for line in lines if meaning(line)]  # below the table
    shown = [line if len(line) <= 80 else prose(line) for line in lines if line not in ("", *gains)]
    yield "\n" + "\n".join(shown) + "\n"
    yield from glossary(ARMS)
    yield from explained(gains)
    yield "\n" + textwrap.fill(done.verdict, WIDTH, initial_indent="> ", subsequent_indent="> ")
    yield prose(
        "That last line answers the question, for this task and this model: by the paired gain with its interval, the "
        "tokens and the time. Where the student gains nothing, it says so. Times are of the machine that made the "
        f"record. {done.note}",
        "  ",
    )


def last_screen(result: RunResult, page: Path) -> Iterator[str]:
    """The pages, and the commands for one's own rows."""
    yield heading(5, "What to type next")
    pages = {"report of this replay": result.run.report_path, "report of the distillation": page}
    yield "\n".join(f"{name:28}{short_path(path)}" for name, path in pages.items())
    commands = {
        "the winning prompt": command_line("optimize", "--show", result.run.best_path),
        "a recipe for your rows": command_line("optimize", "--new", "mine.py", "--from", "mails.csv"),
        "check it, without a model": command_line("optimize", "mine.py", "--check"),
        "search, at your endpoint": command_line("optimize", "mine.py", "--base-url", "URL", "--model", "NAME"),
        "from prompt to weights": command_line("distill", "--from-prompt", "best.json"),
    }
    yield "\n" + "\n".join(f"{name:28}{command}" for name, command in commands.items())


def heading(number: int, title: str) -> str:
    return f"\n{f'REPLAY {number}/{SCREENS} · {title} ':-<{WIDTH}}"


def prose(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


def explained(lines: list[str]) -> Iterator[str]:
    """Each line as a run prints it, and below the first of its kind what it means."""
    told = ""
    for line in lines:
        yield f"\n> {line}"
        if meaning(line) not in told:
            yield prose(meaning(line), "  ")
            told += meaning(line)


def glossary(words: Mapping[str, str]) -> Iterator[str]:
    """Words and what they mean, a line each."""
    wide = max(map(len, words))
    for word, text in words.items():
        yield textwrap.fill(f"{word:{wide}}  {text}", WIDTH, initial_indent="  ", subsequent_indent=" " * (wide + 4))


def lines_of(event: Event) -> list[str]:
    """What a terminal shows of an event."""
    if isinstance(event, Message):
        return [event.text]
    if isinstance(event, GenerationEnded):
        return [f"{event.count}  {generation_line(event)}{best_line(event)}"]
    return []


def shorten(text: str, used: int) -> str:
    return textwrap.shorten(text, WIDTH - used - 6, placeholder=" …")
