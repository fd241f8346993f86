"""A finished run, made once for all tests that only look at one: its folder, what it said, and what it asked."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from optimizer.run.folder import RunFolder
from promptstill.files import write_jsonl
from promptstill.scoring.rows import ArmReply, TestRow
from tests.support.codes import command, knows_with_demos, run
from tests.support.fake import FakeEndpoint

HOSTILE = '</dd><script>alert("x")</script><img src=x onerror=alert(1)> {{ 7 * 7 }} & \ud83d'


@dataclass(frozen=True)
class FinishedRun:
    """A whole run of the command: `work` is the folder that it worked in, `fake` the endpoint that it asked."""

    work: Path
    done: subprocess.CompletedProcess[str]
    fake: FakeEndpoint

    @property
    def run(self) -> RunFolder:
        return RunFolder(next((self.work / "runs").iterdir()))


def finish_run(folder: Path) -> FinishedRun:
    """Run `optimize` in `folder` against a fake endpoint."""
    with FakeEndpoint(knows_with_demos) as fake:
        done = run(command(fake, folder), folder)
    assert done.returncode == 0, done.stderr
    return FinishedRun(folder, done, fake)


def copied(finished: RunFolder, folder: Path) -> RunFolder:
    """The run in a folder of the test's own."""
    return RunFolder(Path(shutil.copytree(finished.path, folder / finished.path.name)))


def with_rows(finished: RunFolder, count: int, context: str) -> RunFolder:
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
    write_jsonl(finished.test_path, map(asdict, rows))
    return finished
