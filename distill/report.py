"""distilled/report.html and the rows it shows. The page is made from the folder's files alone.

Until there is a result, it shows how far the distillation has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from distill import finished, underway
from distill.arms import Arm
from distill.folder import Distilled
from distill.verdict import Verdict
from optimizer.examples import Example
from optimizer.files import write_jsonl, write_text
from optimizer.rows import Answer, Answered, right


def write_rows(path: Path, test: Sequence[Example], verdict: Verdict) -> None:
    """test.jsonl: every test row with each arm's reply."""
    answers = {name: answers_of(arm) for name, arm in verdict.arms.items()}
    write_jsonl(
        path,
        [
            asdict(
                Answered(row.id, row.inputs, right(row), {name: one[n] for name, one in answers.items()}, row.group_id)
            )
            for n, row in enumerate(test)
        ],
    )


def answers_of(arm: Arm) -> list[Answer]:
    replies = arm.replies or [("", None)] * len(arm.scores)
    return [Answer(round(score, 6), *reply) for score, reply in zip(arm.scores, replies, strict=True)]


def write_report(folder: Distilled, *, running: bool = False) -> None:
    """Write report.html anew; while the distillation works the page reloads itself. Raises `UserError`."""
    if running or not folder.prompt_path.is_file():
        text = underway.page(folder, Distilled.open(folder.path)[1], running=running)
    else:
        text = finished.page(folder)
    write_text(folder.path / "report.html", text)
