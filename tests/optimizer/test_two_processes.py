"""Two `optimize` processes at once: on one shared storage, and on one run folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage

from optimizer.search.study import StoredStudy
from tests.support import ROOT
from tests.support.codes import command, knows_with_demos
from tests.support.fake import FakeEndpoint


def start(argv: list[str], folder: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(argv, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(processes: list[subprocess.Popen[str]]) -> list[str]:
    """What each said on stdout; all must end with 0."""
    said = []
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        said.append(out)
    return said


def trials(study: optuna.Study) -> list[dict[str, Any]]:
    stored = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    return [{"params": trial.params, **trial.user_attrs} for trial in stored]


def test_two_runs_at_once_share_a_study_and_try_nothing_twice(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    with FakeEndpoint(knows_with_demos) as fake:
        fake.delay_s = 0.02
        argv = command(fake, tmp_path, "--storage", url, "--trials", "16")
        said = finish([start([*argv, "-o", f"best-{n}.json"], tmp_path) for n in range(2)])
    shared = RDBStorage(url)
    done = trials(optuna.load_study(storage=shared, study_name="codes"))
    shared.remove_session()
    shared.engine.dispose()
    assert Counter(trial["prompt_id"] for trial in done).most_common(1)[0][1] == 1, "a candidate was tried twice"
    assert len({trial["worker"] for trial in done}) == 2 and 16 <= len(done) <= 24
    runs = list((tmp_path / "runs").iterdir())
    pools = {(run / "pools.json").read_text() for run in runs}
    assert len(runs) == 2 and len(pools) == 1, "names in trials must mean the same to both"
    assert all("DSPy default" in out for out in said) and (tmp_path / "best-0.json").exists()


def test_two_on_one_run_divide_the_work_and_one_writes(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        fake.delay_s = 0.03
        first = start(command(fake, tmp_path, "--trials", "16", "--window", "16"), tmp_path)
        deadline = time.monotonic() + 60
        while sum(fake.calls.values()) < 60:
            assert time.monotonic() < deadline and first.poll() is None
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        run = next((tmp_path / "runs").iterdir())
        argv = [sys.executable, "-m", "optimizer", "--resume", str(run), "--base-url", fake.base_url]
        said = finish([start(argv, tmp_path) for _ in range(2)])
    done = trials(StoredStudy.open(None, run / "study.log", "codes").study)
    assert Counter(trial["prompt_id"] for trial in done).most_common(1)[0][1] == 1, "a candidate was tried twice"
    assert {trial["worker"] for trial in done} == {0, 1} and 16 <= len(done) <= 24
    assert sum("worker 0 chooses" in out for out in said) == 1 and sum("DSPy default" in out for out in said) == 1
    best = json.loads((run / "best.json").read_text())
    record = json.loads((run / "run.json").read_text())
    assert record["best"] == best["id"] and record["search"], "the later process must not undo the other's notes"
    lines = [json.loads(line) for line in (run / "trials.jsonl").read_text().splitlines()]
    assert [line["prompt_id"] for line in lines if line["chosen"]], "trials.jsonl is that of the process that chose"
