"""A finished run and its folder, made once for all tests that only look at one."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

from optimizer.run.folder import RunFolder
from promptstill.files import write_jsonl
from promptstill.scoring.rows import ArmReply, TestRow

HOSTILE = '</dd><script>alert("x")</script><img src=x onerror=alert(1)> {{ 7 * 7 }} & \ud83d'


def copied(run: RunFolder, folder: Path) -> RunFolder:
    """The run in a folder of the test's own."""
    return RunFolder(Path(shutil.copytree(run.path, folder / run.path.name)))


def with_rows(run: RunFolder, count: int, context: str) -> RunFolder:
    """The run as if its test had `count` rows, each with `context` and hostile text; every third row is a win."""
    rows = []
    for n in range(count):
        answers = {
            "baseline": ArmReply(0.5, f"baseline says {HOSTILE}", None),
            "dspy": ArmReply(0.0, "no", "unparsed: the reply is no JSON object"),
            "winner": ArmReply((1.0, 0.5, 0.0)[n % 3], f"winner says {n} {HOSTILE}", None),
        }
        rows.append(
            TestRow(f"id{n}", {"word": f"{HOSTILE} needle{n}z {context}"}, {"code": HOSTILE}, answers, f"id{n}")
        )
    write_jsonl(run.test_path, map(asdict, rows))
    return run
