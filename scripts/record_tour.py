"""Renews the record that `optimize --tour` replays: optimizes and distils its recipe on the embedded model.

    python -m scripts.record_tour [FOLDER] [--note TEXT]

Takes some 20 minutes on two cores. The run and the distillation stay in FOLDER, a new one under runs/ if none is named;
what FOLDER holds already is not made again.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from distill.folder import DistilledFolder
from distill.report.card import terminal_table
from distill.report.result_page import result_page
from distill.verdict.verdict import DistillVerdict, verdict_sentence
from optimizer.run.folder import RunFolder
from optimizer.tour.record import RECIPE, ROWS, SHIPPED, RecordedDistillation, RecordedSearch, write_record
from promptstill.engine.models import Model
from promptstill.files import read_json, write_json

COLUMNS = 400  # of a terminal that breaks no line
VERSIONS = ("dspy", "optuna")  # the packages that word and choose requests
ROOT = Path(__file__).resolve().parents[1]
TRIALS = "16"
DISTIL = ("--from-prompt", "best.json", "-k", "0")  # greedy answers alone: a small record in little time


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.record_tour", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="a new one under runs/ if none")
    parser.add_argument("--note", default="", metavar="TEXT", help="said beside the times: what else the machine did")
    arguments = parser.parse_args()
    work = arguments.folder or Path("runs") / f"tour-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    work.mkdir(parents=True, exist_ok=True)
    for name in (RECIPE, ROWS):
        shutil.copy(SHIPPED / name, work)
    if not (work / "best.json").is_file():
        run_command(work, "optimizer", RECIPE, "--trials", TRIALS)  # a replay has no calls that a limit could count
    if not DistilledFolder(work / "distilled").finished:
        run_command(work, "distill", *DISTIL)
    write_record_of(work, SHIPPED, arguments.note)
    for path in sorted(SHIPPED.iterdir()):
        print(f"{path.stat().st_size:>9,} bytes  {path.relative_to(ROOT)}")


def run_command(work: Path, module: str, *arguments: str) -> None:
    """Run a command in `work`, so that no path of this machine gets into what it writes. Its failure ends this
    process."""
    code = subprocess.run([sys.executable, "-m", module, *arguments], cwd=work, check=False).returncode
    if code:
        sys.exit(code)


def write_record_of(work: Path, target: Path, note: str) -> None:
    """The record of the search and the distillation in `work`, into `target`."""
    run = RunFolder.open(work / "runs" / read_json(work / "best.json")["run"])
    search = recorded_search(run)
    distilled = DistilledFolder(work / "distilled")
    markers = run.prompts()["winner"].markers
    page = replay_page(distilled, search, note)
    write_record(
        target, search, recorded_distillation(distilled, note), read_calls(run.path / "calls.db"), markers, page
    )


def recorded_search(run: RunFolder) -> RecordedSearch:
    """What a replay needs to know of a search, and tells of it."""
    best, settings, spent = read_json(run.best_path), run.settings(), run.record["spent"]["total"]
    model = Model(best["model"]["name"], best["model"]["name"], best["model"]["sha256"])
    return RecordedSearch(
        recorded_at=best["created_at"],
        model=model.name,
        identity=settings.source.identity(model),
        context=run.record["context"],
        slow=run.record["slow"],
        trials=settings.most_trials,
        seed=settings.seed,
        winner=run.prompts()["winner"].id,
        calls=spent["calls"],
        tokens=spent["prompt_tokens"] + spent["completion_tokens"],
        versions={name: best["versions"][name] for name in VERSIONS if name in best["versions"]},
    )


def recorded_distillation(folder: DistilledFolder, note: str) -> RecordedDistillation:
    """The end of a distillation as the terminal shows it."""
    verdict, record = DistillVerdict.from_json(read_json(folder.verdict_path)), read_json(folder.path / "train.json")
    table = io.StringIO()
    Console(file=table, width=COLUMNS, highlight=False).print(terminal_table(verdict, record["settings"]["seed"]))
    return RecordedDistillation(
        command=f"distill {' '.join(DISTIL)}",
        table=table.getvalue(),
        verdict=verdict_sentence(verdict),
        training_rows=verdict.cost.training_rows,
        note=note,
    )


def replay_page(folder: DistilledFolder, search: RecordedSearch, note: str) -> str:
    """The distillation's report, which then says that it is a replay's."""
    path = folder.path / "train.json"
    replay = {"recorded_at": search.recorded_at, "model": search.model, "note": note}
    write_json(path, read_json(path) | {"replay": replay}, private=True)
    return result_page(folder)


def read_calls(path: Path) -> Iterator[dict[str, Any]]:
    """The calls of a run, in an order that does not depend on when each was answered."""
    with closing(sqlite3.connect(path)) as db:
        for key, role, body, completion in db.execute("SELECT key, role, body, completion FROM calls ORDER BY body"):
            yield {"key": key, "role": role, "body": json.loads(body), "completion": json.loads(completion)}


if __name__ == "__main__":
    main()
