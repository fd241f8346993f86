"""dataset.jsonl and rejected.jsonl: what the student is trained on, and what not and why. Both are for people to read.

A row enters only if the student's own prompt would read its completion back as the same outputs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.teach.example import TrainingExample, completion
from distill.teach.filter import Accepted, Filtered
from distill.teach.reasons import Reason, Rejected, reasons_line
from promptstill.errors import InfrastructureError, ReplyError, UserError
from promptstill.files import file_digest, write_jsonl
from promptstill.prompt.fields import as_text
from promptstill.prompt.prompt import Prompt

DATASET, REJECTED = "dataset.jsonl", "rejected.jsonl"
MIN_ROWS = 20
COLUMNS = ("id", "where", "inputs", "outputs", "completion", "source", "score", "sample")


@dataclass(frozen=True)
class TrainingRow:
    """A training example, and the `score` and `sample` (0: greedy) of the answer that it came from, if they exist."""

    example: TrainingExample
    score: float | None
    sample: int | None


def to_training_rows(accepted: Sequence[Accepted], prompt: Prompt) -> tuple[list[TrainingRow], list[Rejected]]:
    """Rows in the student's prompt. An answer that it would not read back as the same outputs is rejected."""
    rows: list[TrainingRow] = []
    rejected: list[Rejected] = []
    for one in accepted:
        reply = completion(prompt, one.outputs)
        problem = read_back_problem(prompt, reply, one.outputs)
        if problem:
            text = one.text or reply
            rejected.append(Rejected(one.example, one.sample, text, Reason("does not read back", problem)))
        else:
            rows.append(TrainingRow(to_training_example(prompt, one, reply), one.score, one.sample))
    return rows, rejected


def to_training_example(prompt: Prompt, accepted: Accepted, reply: str) -> TrainingExample:
    example = accepted.example
    messages = prompt.messages(example.inputs)
    return TrainingExample(
        example.id, example.location, example.inputs, accepted.outputs, messages, reply, accepted.source
    )


def read_back_problem(prompt: Prompt, reply: str, outputs: Mapping[str, Any]) -> str | None:
    """How what the prompt reads from `reply`, cut at its stop strings, differs from `outputs`; None if it does not."""
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


def refuse_few_rows(rows: Sequence[TrainingRow], rejected: Sequence[Rejected], filtered: Filtered) -> None:
    """Raises `UserError` where the answers to fewer than 20 rows are left to train on.

    It gives the counts by reason, and the threshold that would leave enough.
    """
    count = len({row.example.id for row in rows})
    if count >= MIN_ROWS:
        return
    left = (
        "No training row survives"
        if count == 0
        else f"Only {count} training row{'s' * (count > 1)} survive{'s' * (count == 1)}"
    )
    raise UserError(
        f"{left} the filter; a student needs {MIN_ROWS}.",
        f"Rejected answers: {reasons_line(rejected)}.",
        "Train on labels too with --gold, ask for more answers with -k, or give more rows."
        f"{lower_threshold_hint(filtered)}",
    )


def lower_threshold_hint(filtered: Filtered) -> str:
    """The last sentence of the advice: a lower threshold above zero that leaves enough rows, if there is one."""
    enough = sorted(filtered.best_scores.values(), reverse=True)[MIN_ROWS - 1 : MIN_ROWS]
    min_score = math.floor(100 * enough[0]) / 100 if enough else 0.0
    if not 0 < min_score < filtered.min_score:
        return ""
    return f" A lower threshold, --keep {min_score:g}, would keep {MIN_ROWS} rows, wrong answers among them."


def write_dataset(folder: Path, rows: Sequence[TrainingRow], rejected: Sequence[Rejected]) -> str:
    """Write both files, each in one step, and return the sha256 of dataset.jsonl, which is written last.

    Raises `InfrastructureError` where the disk does not take them.
    """
    try:
        write_jsonl(folder / REJECTED, map(rejected_to_json, rejected), private=True)
        write_jsonl(folder / DATASET, map(row_to_json, rows), private=True)
    except OSError as error:
        raise InfrastructureError(
            f"{folder / DATASET} could not be written.",
            str(error),
            "Free some disk space, then go on with --resume: no stored answer is asked for again.",
        ) from error
    return file_digest(folder / DATASET)


def row_to_json(row: TrainingRow) -> dict[str, Any]:
    one = row.example
    values = (
        one.id,
        one.location,
        dict(one.inputs),
        dict(one.outputs),
        one.completion,
        one.source,
        row.score,
        row.sample,
    )
    return dict(zip(COLUMNS, values, strict=True))


def rejected_to_json(rejected: Rejected) -> dict[str, Any]:
    line = {"where": rejected.example.location, "sample": rejected.sample, "text": rejected.text}
    return line | {"reason": rejected.reason.kind, "detail": rejected.reason.detail}


def read_dataset(path: Path, prompt: Prompt, sha256: str | None = None) -> list[TrainingRow]:
    """The rows of a dataset.jsonl, their messages rendered anew by `prompt`.

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


def read_rows(path: Path, prompt: Prompt) -> Iterator[TrainingRow]:
    """Each line as a row."""
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
            yield TrainingRow(TrainingExample(id_, where, inputs, outputs, messages, reply, source), score, sample)
