"""dataset.jsonl and rejected.jsonl: what the student learns, and what it does not and why. Both are for people to read.

Nothing enters that the student's own prompt would not read back as the same outputs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.ladder import Kept, Sifted
from distill.reasons import Reason, Rejected, listed
from distill.student import Lesson, completion
from optimizer.errors import InfrastructureError, ReplyError, UserError
from optimizer.fields import as_text
from optimizer.files import file_digest, write_jsonl
from optimizer.prompt import Prompt

DATASET, REJECTED = "dataset.jsonl", "rejected.jsonl"
FEWEST = 20
COLUMNS = ("id", "where", "inputs", "outputs", "completion", "source", "score", "sample")


@dataclass(frozen=True)
class Entry:
    """A lesson, and the `score` and `sample` (0: greedy) of the answer it came from; None where it had none."""

    lesson: Lesson
    score: float | None
    sample: int | None


def compose(kept: Sequence[Kept], prompt: Prompt) -> tuple[list[Entry], list[Rejected]]:
    """Lessons in the student's prompt; what it would not read back as its outputs is rejected."""
    entries: list[Entry] = []
    rejected: list[Rejected] = []
    for one in kept:
        reply = completion(prompt, one.outputs)
        problem = misread(prompt, reply, one.outputs)
        if problem:
            text = one.text or reply
            rejected.append(Rejected(one.example, one.sample, text, Reason("does not read back", problem)))
        else:
            entries.append(Entry(to_lesson(prompt, one, reply), one.score, one.sample))
    return entries, rejected


def to_lesson(prompt: Prompt, kept: Kept, reply: str) -> Lesson:
    """One row as the student meets it."""
    example = kept.example
    messages = prompt.messages(example.inputs)
    return Lesson(example.id, example.where, example.inputs, kept.outputs, messages, reply, kept.source)


def misread(prompt: Prompt, reply: str, outputs: Mapping[str, Any]) -> str | None:
    """What is wrong with a reply once the engine has cut it at the prompt's stops, or None."""
    cut = reply
    for stop in prompt.decoding.stop:
        cut = cut.split(stop)[0]
    try:
        read = prompt.parse(cut)
    except ReplyError as error:
        return str(error)
    for name, value in outputs.items():
        if as_text(read[name]).strip() != as_text(value).strip():
            return f"{name} is {as_text(value)[:80]!r} and would be read as {as_text(read[name])[:80]!r}"
    return None


def refuse_few(entries: Sequence[Entry], rejected: Sequence[Rejected], sifted: Sifted) -> None:
    """Raises `UserError`, with the counts by reason and the threshold that would do, where fewer than 20 rows are left
    to learn from."""
    rows = len({entry.lesson.id for entry in entries})
    if rows >= FEWEST:
        return
    left = (
        "No training row survives"
        if rows == 0
        else f"Only {rows} training row{'s' * (rows > 1)} survive{'s' * (rows == 1)}"
    )
    raise UserError(
        f"{left} the filter; a student needs {FEWEST}.",
        f"Rejected answers: {listed(rejected)}.",
        f"Learn from labels with --gold, ask for more answers with -k, or give more rows.{lower(sifted)}",
    )


def lower(sifted: Sifted) -> str:
    """The last sentence of the advice: the threshold that lets enough rows through, where there is one above zero."""
    enough = sorted(sifted.best.values(), reverse=True)[FEWEST - 1 : FEWEST]
    keep = math.floor(100 * enough[0]) / 100 if enough else 0.0
    if not 0 < keep < sifted.keep:
        return ""
    return f" A lower bar, --keep {keep:g}, would let {FEWEST} rows through, wrong answers among them."


def write_dataset(folder: Path, entries: Sequence[Entry], rejected: Sequence[Rejected]) -> str:
    """Write both files, each in one step, and return the sha256 of dataset.jsonl, which is written last.

    Raises `InfrastructureError` where the disk does not take them.
    """
    try:
        write_jsonl(folder / REJECTED, map(rejected_row, rejected))
        write_jsonl(folder / DATASET, map(dataset_row, entries))
    except OSError as error:
        raise InfrastructureError(
            f"{folder / DATASET} could not be written.",
            str(error),
            "Free some space, then go on with --resume: no stored answer is asked for again.",
        ) from error
    return file_digest(folder / DATASET)


def dataset_row(entry: Entry) -> dict[str, Any]:
    lesson = entry.lesson
    values = (lesson.id, lesson.where, dict(lesson.inputs), dict(lesson.outputs), lesson.completion, lesson.source)
    return dict(zip(COLUMNS, (*values, entry.score, entry.sample), strict=True))


def rejected_row(one: Rejected) -> dict[str, Any]:
    row = {"where": one.example.where, "sample": one.sample, "text": one.text}
    return row | {"reason": one.reason.kind, "detail": one.reason.detail}


def read_dataset(path: Path, prompt: Prompt, sha256: str | None = None) -> list[Entry]:
    """The entries of a dataset.jsonl, their messages rendered anew by `prompt`.

    Raises `UserError` for a file that is missing, is not of the given sha256, or does not hold such rows.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist.", "", "Start anew, without --resume.")
    if sha256 is not None and file_digest(path) != sha256:
        raise UserError(
            f"{path} was changed.",
            "It is not the file that training began with.",
            "Restore it, or start anew without --resume.",
        )
    return list(read_rows(path, prompt))


def read_rows(path: Path, prompt: Prompt) -> Iterator[Entry]:
    """Each line as an entry."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                id_, where, inputs, outputs, reply, source, score, sample = (row[name] for name in COLUMNS)
                messages = prompt.messages(inputs)
            except (ValueError, KeyError, TypeError, UserError) as error:
                raise UserError(
                    f"{path}, line {number}: not a row of this student's dataset.",
                    f"{type(error).__name__}: {error}",
                    "Start anew, without --resume.",
                ) from error
            yield Entry(Lesson(id_, where, inputs, outputs, messages, reply, source), score, sample)
