"""What a contestant is, and how its search is watched: a process of its own, asking through an account with a cap.

Calls end a search, or it ends by itself. The clock is a guard: what it ended is stored as such, and not shown beside
others.

A peer's process writes each program when it has scored it on dev (`candidates.jsonl`), and the one that it returns
(`final.json`). When the proxy refuses a call, the process is ended, and its result is the best program that it had
scored within the cap: a refused call must not become a score.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.contest.proxy import Account, Proxy
from benchmarks.contest.tasks import ROOT, TaskFiles
from promptstill.engine import guard
from promptstill.files import digest, write_json

LIMIT_S = 7_200.0  # a guard alone: calls end a search
MIN_ROWS = 16  # scored rows, before a program can be the best so far
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "true", "TQDM_DISABLE": "1", "PYTHONUNBUFFERED": "1", "OPENAI_API_KEY": "none"}
ERROR = re.compile(r"[\w.]*(Error|Exception)(:|$)")  # as Python ends a traceback
CAP, TIME = "the cap", "the time limit"
GRACE_S = 5.0
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # past a proxy of this machine
Program = dict[str, Any]
Ended = Literal["itself", "calls", "clock", "error"]


@dataclass(frozen=True)
class Job:
    """One contestant's search. `cap` is its most calls, for those that choose their sizes by it."""

    contestant: str
    task: str
    recipe: str
    rows: str
    model: str
    seed: int
    base_url: str
    folder: str
    cap: int = 0

    @classmethod
    def read(cls, path: str) -> Job:
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))

    @property
    def files(self) -> TaskFiles:
        return TaskFiles(self.task, Path(self.recipe), Path(self.rows))


@dataclass(frozen=True)
class Candidate:
    """A program that was scored on `rows` dev rows when `calls` had been spent."""

    program: Program
    dev: float
    rows: int
    calls: int


@dataclass(frozen=True)
class ProcessEnd:
    """How a contestant's process ended: what stopped it, or its last error where it failed by itself."""

    stopped: str | None
    error: str | None


def argv(module: str, verb: str, job: Path, *rest: str, python: str = sys.executable) -> list[str]:
    """The command of a contestant's module in this folder."""
    return [python, "-m", f"benchmarks.contest.{module}", verb, str(job), *rest]


def environment() -> dict[str, str]:
    """No endpoint but the proxy, no call home, no cache that outlives the process."""
    return {**os.environ, **QUIET, "PYTHONPATH": str(ROOT)}


def watch(command: Sequence[str], account: Account, log_path: Path, limit_s: float = LIMIT_S) -> ProcessEnd:
    """Run a contestant to its end, to its cap, or to the time limit. A guard ends it too where this process is killed.

    What a refused call makes of the process is no failure of its own.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    guarded = [sys.executable, "-I", guard.__file__, str(GRACE_S), *command]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with (
        log_path.open("ab") as log,
        subprocess.Popen(guarded, cwd=ROOT, env=environment(), stdout=log, **pipes) as process,
    ):
        try:
            while process.poll() is None and not account.refused:
                if account.now().seconds > limit_s:
                    return ProcessEnd(f"{TIME} of {limit_s:,.0f} s", None)
                time.sleep(0.1)
        finally:
            process.terminate()
    if account.refused:
        return ProcessEnd(CAP, None)
    return ProcessEnd(None, None if process.returncode == 0 else last_error(log_path, process.returncode))


def last_error(log_path: Path, code: int) -> str:
    """The last error of a log, else its last line that is not empty, without the paths of this machine.

    The model's replies are in the log too, and some are code.
    """
    lines = [line.strip() for line in log_path.read_text(encoding="utf-8", errors="replace").splitlines()]
    errors = [line for line in lines if ERROR.match(line)]
    last = (errors or [line for line in lines if line] or [f"exit code {code}"])[-1]
    return last.replace(str(ROOT), ".")[:200]


def read_candidates(folder: Path) -> list[Candidate]:
    """What the process has noted so far; a last line that it did not finish is left out."""
    path = folder / "candidates.jsonl"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [Candidate(**json.loads(line)) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def latest_scores(found: Sequence[Candidate], calls: float) -> dict[str, Candidate]:
    """Each program's latest score by `calls`, where it was of enough rows."""
    return {digest(one.program): one for one in found if one.calls <= calls and one.rows >= MIN_ROWS}


def best_so_far(found: Sequence[Candidate], calls: float) -> Candidate | None:
    """The highest dev score among the programs' latest scores by `calls`; the earlier where they tie.

    Before any was scored it is the one that the contestant began with, which is noted first.
    """
    start = found[0] if found else None
    return max(latest_scores(found, calls).values(), key=lambda one: (one.dev, -one.calls), default=start)


@dataclass(frozen=True)
class Point:
    """A contestant's result at a cap, and what it had spent by then. `ended` says what ended its search there.

    `itself`: it returned. `calls`: it had as many as the cap, or was refused one. `clock`, `error`: neither.
    """

    cap: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    dev: float | None
    program: Program | None
    ended: Ended

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def points(
    account: Account, caps: Sequence[int], found: Sequence[Candidate], final: Program | None, end: ProcessEnd
) -> list[Point]:
    """A point for each cap: what the contestant returned where it had ended by then, else its best so far."""
    made = []
    for cap in caps:
        spent = account.at(cap)
        best = best_so_far(found, spent.calls)
        ended = end_at(cap, account, final, end)
        program = final if ended == "itself" else best.program if best else None
        dev = best.dev if best and best.rows else None
        made.append(Point(cap, **asdict(spent), dev=dev, program=program, ended=ended))
    return made


def end_at(cap: int, account: Account, final: Program | None, end: ProcessEnd) -> Ended:
    """What ended a search at a cap."""
    if final is not None and not account.refused and account.spent.calls <= cap:
        return "itself"
    if cap in account.at_marks or account.refused:
        return "calls"
    return "error" if end.error else "clock"


@dataclass(frozen=True)
class Peer:
    """How a peer is run: its module, the interpreter, and the seconds after which the guard ends it."""

    module: str
    python: str
    limit_s: float


def peer_search(peer: Peer, job: Job, proxy: Proxy, caps: Sequence[int]) -> dict[str, Any]:
    """A peer's search under an account of its own. Raises `RuntimeError` where the endpoint is what failed."""
    folder, name = Path(job.folder), Path(job.folder).name
    account = proxy.open(name, cap=caps[-1], marks=tuple(caps))
    write_json(folder / "job.json", {**asdict(job), "base_url": proxy.base_url(name), "cap": caps[-1]})
    command = argv(peer.module, "search", folder / "job.json", python=peer.python)
    end = watch(command, account, folder / "log", peer.limit_s)
    if not is_reachable(proxy):
        raise RuntimeError(f"{job.contestant}: the endpoint has gone, so the failure is not the peer's own")
    found = points(account, caps, read_candidates(folder), read_final(folder), end)
    clock = f"ended by {end.stopped}, after {account.spent.calls:,} calls" if end.stopped not in (None, CAP) else ""
    return {"points": [one.to_json() for one in found], "failed": end.error or clock}


def read_final(folder: Path) -> Program | None:
    path = folder / "final.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


@dataclass
class Notes:
    """In the peer's process: notes each program that was scored, with its score over all rows so far."""

    job: Job
    sums: dict[str, tuple[float, int]]

    def begin(self, program: Program) -> None:
        """Note the program that the search begins with, before any call."""
        self._write(Candidate(program, 0.0, 0, 0))

    def add(self, program: Program, scores: Sequence[float]) -> None:
        """Note `scores` on further rows of dev, unless refused calls may be among them."""
        spent = read_account(self.job.base_url)
        if spent["refused"]:
            return
        total, rows = self.sums.get(digest(program), (0.0, 0))
        total, rows = total + sum(scores), rows + len(scores)
        self.sums[digest(program)] = (total, rows)
        self._write(Candidate(program, total / rows, rows, int(spent["calls"])))

    def _write(self, one: Candidate) -> None:
        with (Path(self.job.folder) / "candidates.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(one)) + "\n")

    def finish(self, program: Program) -> None:
        write_json(Path(self.job.folder) / "final.json", program)


def read_account(base_url: str) -> Mapping[str, float]:
    """What the proxy has counted for an account."""
    with NO_PROXY.open(f"{base_url}/spent", timeout=30) as reply:
        return dict(json.loads(reply.read()))


def is_reachable(proxy: Proxy) -> bool:
    """Whether the endpoint behind the proxy answers; no account is needed to ask."""
    try:
        with NO_PROXY.open(f"{proxy.base_url('any')}/models", timeout=30):
            return True
    except OSError:
        return False


def run_verb(search: Callable[[Job], None], test: Callable[[Job, Program], None]) -> None:
    """The command of a contestant's module: `search JOB.json` or `test JOB.json PROGRAM.json`."""
    verb, path, *rest = sys.argv[1:]
    job = Job.read(path)
    if verb == "search":
        search(job)
    else:
        test(job, json.loads(Path(rest[0]).read_text(encoding="utf-8")))
