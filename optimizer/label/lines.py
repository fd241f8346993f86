"""The rows to label as the terminal shows them, and what to do with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from optimizer.label.disagreement import Answer, normalized
from optimizer.label.label import AskedRow, LabelList
from optimizer.label.rows import names_split
from optimizer.run.settings import SearchSettings
from promptstill.endpoint.hosted import is_hosted
from promptstill.prompt.fields import as_text
from promptstill.shell import command_line, short_path
from promptstill.text import plural

SHOWN = 80  # characters of a row
SHOWN_ANSWER = 40
MARKED = 'They are marked "split": "train": picked for being hard, they would make test harder than your rows are.'
DEALT = (
    "They were picked for being hard: those dealt into test make it harder than your rows are. Label random ones too."
)


def row_lines(row: AskedRow) -> list[str]:
    """Where the row is and how it begins; below, each answer and how many candidates gave it."""
    inputs = row.example.inputs.values()
    text = " · ".join(shorten(as_text(value), SHOWN // len(inputs)) for value in inputs)
    votes = Counter(answer_key(answer) for answer in row.answers)
    shown = {answer_key(answer): answer_text(answer) for answer in reversed(row.answers)}
    answers = ", ".join(f"{shown[key]} ({count})" for key, count in votes.most_common())
    return [f"{row.example.location}: {text}", f"    {answers}"]


def answer_key(answer: Answer) -> tuple[str | None, ...]:
    """What equal answers share."""
    return tuple(normalized(answer, name) for name in sorted(answer)) if answer else ()


def answer_text(answer: Answer) -> str:
    """An answer for reading."""
    return shorten("; ".join(map(as_text, answer.values())), SHOWN_ANSWER) if answer else "no answer"


def shorten(text: str, most: int) -> str:
    """One line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def closing_lines(made: LabelList, settings: SearchSettings, path: Path) -> Iterator[str]:
    """What the other rows are, and what to do next."""
    if made.stopped:
        yield f"{made.stopped} is reached: {len(made.asked)} rows were asked; give a higher one to ask more"
    if not made.picked:
        yield from nothing_lines(made)
        return
    others = len(made.asked) - len(made.picked)
    differing = others - made.agreed
    yield f"{plural(len(made.picked), 'row')} to label: {short_path(path)}"
    if made.agreed:
        yield (
            f"the candidates agree on the other {plural(made.agreed, 'row')}"
            if not differing
            else (f"of the other {plural(others, 'row')} the candidates agree on {made.agreed:,}")
        )
    yield from next_lines(made, settings, path)


def nothing_lines(made: LabelList) -> Iterator[str]:
    """Why no row is listed."""
    if made.asked:
        yield f"The candidates agree on every row ({len(made.asked):,} asked): none is worth labelling before another."
        yield "Nothing is written. Label rows drawn at random."


def next_lines(made: LabelList, settings: SearchSettings, path: Path) -> Iterator[str]:
    recipe = made.opened.recipe_file.path
    yield f"1. In each row of {short_path(path)} write the right output in place of null."
    yield f"2. Put these rows into the data of {short_path(recipe)}, in place of those without output."
    yield f"3. Search again: {search_again(settings)}"
    yield MARKED if names_split(made.opened) else DEALT


def search_again(settings: SearchSettings) -> str:
    """The command of the run, as far as it names the task and the model."""
    words: list[object] = [settings.recipe]
    for name, value in settings.parameters.items():
        words += ["-p", f"{name}={value}"]
    words += ["--model", settings.model] if settings.model else []
    words += ["--base-url", settings.base_url] if settings.base_url and not is_hosted(settings.base_url) else []
    return command_line("optimize", *words)
