"""report.html of a distilled folder, and test.jsonl, which it shows. The page is made from the folder's files alone.

Until there is a result, it shows how far the distillation is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from distill.folder import DistilledFolder
from distill.report import progress_page, result_page
from distill.verdict.arms import Arm
from distill.verdict.verdict import DistillVerdict
from promptstill.files import write_jsonl, write_text
from promptstill.scoring.rivals.report import LABELS
from promptstill.scoring.rows import ArmReply, TestRow, gold_values, to_arm_reply
from promptstill.task.examples import Example


def write_arm_rows(path: Path, test: Sequence[Example], verdict: DistillVerdict) -> None:
    """test.jsonl: every test row with the reply of each arm, and of each rival."""
    answers = {name: arm_replies(arm) for name, arm in verdict.arms.items()}
    for name, rival in verdict.rivals.items():
        answers[LABELS[name]] = [to_arm_reply(result) for result in rival.results]
    write_jsonl(
        path,
        [
            asdict(
                TestRow(
                    row.id, row.inputs, gold_values(row), {name: one[n] for name, one in answers.items()}, row.group_id
                )
            )
            for n, row in enumerate(test)
        ],
        private=True,
    )


def arm_replies(arm: Arm) -> list[ArmReply]:
    replies = arm.replies or [("", None, False, "")] * len(arm.scores)
    labels = arm.labels or [None] * len(arm.scores)
    return [
        ArmReply(round(score, 6), *reply, one) for score, reply, one in zip(arm.scores, replies, labels, strict=True)
    ]


def write_report(folder: DistilledFolder, *, running: bool = False) -> None:
    """Write report.html again. While the distillation runs, the page reloads itself. Raises `UserError`."""
    if running or not folder.prompt_path.is_file():
        text = progress_page.progress_page(folder, DistilledFolder.open(folder.path)[1], running=running)
    else:
        text = result_page.result_page(folder)
    write_text(folder.path / "report.html", text, private=True)
