"""Where contestants meet: one endpoint, one proxy before it, and the store of what was measured.

The endpoint is BENCH_BASE_URL with BENCH_MODEL, or a vLLM, started when a cell that is not yet stored first needs it.
BENCH_JOBS contestants run side by side, which changes seconds, but no counts. BENCH_MAX_CALLS leaves larger caps out,
and BENCH_LIMIT_S ends a peer sooner, which leaves it out of the table.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks import cells
from benchmarks.cells import Key
from benchmarks.contest import ours
from benchmarks.contest.contestants import LIMIT_S, Job, Peer, Program, argv, peer_search, watch
from benchmarks.contest.proxy import Proxy, Spending
from benchmarks.contest.tasks import ROOT, BenchTask, RowScore, Sizes, TaskFiles, write_task_files
from benchmarks.contest.version import commit, version_of
from benchmarks.contest.winners import without_rows
from benchmarks.endpoint import open_endpoint, say
from promptstill.files import canonical_json, digest, write_json
from promptstill.stats import mean_interval
from promptstill.task.open import OpenTask

PEERS_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
TEST_SCORES, WINNERS = "test_scores", "contest_winners"
Search = Callable[[Job, Proxy, Sequence[int]], dict[str, Any]]
# A peer by its name here: the module that runs it, and the interpreter.
PEERS = {
    "bootstrap": ("dspy_optimizers", sys.executable),
    "simba": ("dspy_optimizers", sys.executable),
    "mipro": ("dspy_optimizers", sys.executable),
    "gepa": ("dspy_optimizers", sys.executable),
    "capo": ("capo", str(PEERS_PYTHON)),
}


class Arena:
    """Searches and test scores, each measured once. The cells are in `folder`."""

    def __init__(self, folder: Path, *, fast: bool) -> None:
        self.folder, self.fast = folder, fast
        self._stack = ExitStack()
        self._endpoint = self._stack.enter_context(open_endpoint())
        self.model = self._endpoint.model
        self._lock = threading.Lock()
        self._measuring: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._starting = threading.Lock()
        self._files: dict[str, TaskFiles] = {}

    def __enter__(self) -> Arena:
        self.work = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def jobs(self) -> int:
        return int(os.environ.get("BENCH_JOBS", "6" if self.fast else "1"))

    def allowed(self, caps: Sequence[int]) -> tuple[int, ...]:
        """The caps up to BENCH_MAX_CALLS, at least the smallest."""
        most = int(os.environ.get("BENCH_MAX_CALLS", caps[-1]))
        return (caps[0], *(cap for cap in caps[1:] if cap <= most))

    @cached_property
    def _proxy(self) -> Proxy:
        return self._stack.enter_context(Proxy(self._endpoint.url))

    @property
    def proxy(self) -> Proxy:
        with self._starting:
            return self._proxy

    def sizes(self, task: BenchTask) -> Sizes:
        return task.fast if self.fast else task.sizes

    def key(self, task: BenchTask) -> dict[str, str | int]:
        """What a figure of a task depends on besides the contestant; `deal` is a digest of the rows by split."""
        rows = "/".join(map(str, self.sizes(task)))
        return {"task": task.name, "rows": rows, "deal": self.files(task).deal, "model": self.model}

    def files(self, task: BenchTask) -> TaskFiles:
        with self._starting:
            if task.name not in self._files:
                self._files[task.name] = write_task_files(task, self.sizes(task), self.work / task.name)
            return self._files[task.name]

    def open_task(self, task: BenchTask) -> OpenTask:
        return self.files(task).open(self.model)

    def stored(self, part: str, key: Key) -> dict[str, Any] | None:
        """A cell's result, or None where it is not measured yet."""
        with self._lock:
            records = cells.read(part, self.folder)
        return next((dict(record["result"]) for record in records if record["key"] == dict(key)), None)

    def complete(self, part: str, key: Key, caps: Sequence[int]) -> bool:
        """Whether all these caps have cells; the searches themselves are stored on this machine alone."""
        return all(self.stored(part, {**key, "cap": cap}) is not None for cap in caps)

    def measure_once(self, part: str, key: Key, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """As `cells.cell`, for several threads: one that asks for what another is measuring waits for it."""
        with self._lock:
            measuring = self._measuring[canonical_json([part, key])]
        with measuring:
            if (found := self.stored(part, key)) is not None:
                return found
            start = time.perf_counter()
            result = make()
            with self._lock:
                cells.store(part, key, result, time.perf_counter() - start, folder=self.folder)
            return result

    def job(self, task: BenchTask, contestant: str, seed: int) -> Job:
        """A search's job, in a new folder; its account has the folder's name."""
        files = self.files(task)
        prefix = f"{task.name}-{contestant}-{seed}-"
        folder = tempfile.mkdtemp(prefix=prefix, dir=self.work)
        return Job(contestant, task.name, str(files.recipe), str(files.folder), self.model, seed, "", folder)

    def peer(self, task: BenchTask, name: str, seed: int, caps: Sequence[int]) -> dict[str, Any]:
        """A peer's points."""
        module, python = PEERS[name]
        key = {**self.key(task), "contestant": name, "seed": seed}

        def make() -> dict[str, Any]:
            say(f"{task.name}: {name}, seed {seed}, up to {caps[-1]} calls")
            peer = Peer(module, python, float(os.environ.get("BENCH_LIMIT_S", LIMIT_S)))
            found = peer_search(peer, self.job(task, name, seed), self.proxy, caps)
            if any(point["program"] is None for point in found["points"]):
                raise RuntimeError(f"{task.name}: {name} did not begin: {found['failed']}")
            return found | self.conditions | about(name)

        return self._search_once(key, caps, make)

    def ours(
        self,
        task: BenchTask,
        seed: int,
        caps: Sequence[int],
        name: str = "ours",
        search: Search = ours.search,
    ) -> dict[str, Any]:
        """Our own points, or by another `search` those of a variant."""
        key = {**self.key(task), "contestant": name, "seed": seed}

        def make() -> dict[str, Any]:
            say(f"{task.name}: {name}, seed {seed}, up to {caps[-1]} calls")
            return search(self.job(task, name, seed), self.proxy, caps) | self.conditions | about("ours")

        return self._search_once(key, caps, make)

    def _search_once(self, key: Key, caps: Sequence[int], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A search's points at these caps: of a stored one that has them all, or of a new one."""
        with self._lock:
            records = cells.read("searches", self.folder)
        for record in records:
            stored = dict(record["key"])
            if set(map(str, caps)) <= set(str(stored.pop("caps")).split("/")) and stored == dict(key):
                found = dict(record["result"])
                return found | {"points": [point for point in found["points"] if point["cap"] in caps]}
        return self.measure_once("searches", {**key, "caps": "/".join(map(str, caps))}, make)

    @property
    def conditions(self) -> dict[str, Any]:
        return {"side_by_side": self.jobs}

    def score_on_test(self, task: BenchTask, program: Program) -> dict[str, Any]:
        """A program on test, as `test_result` has it."""
        key = {**self.key(task), "program": program_id(program)}
        return self.measure_once(TEST_SCORES, key, lambda: self._score(task, program))

    def _score(self, task: BenchTask, program: Program) -> dict[str, Any]:
        say(f"{task.name}: test of a {program['kind']} program")
        job = self.job(task, "test", program.get("seed", 0))
        name = Path(job.folder).name
        account = self.proxy.open(name)
        scores = self._row_scores(task, program, job, name)
        return test_result(scores, self.groups(task), account.spent)

    def groups(self, task: BenchTask) -> list[str]:
        """The group of each test row."""
        return [row.group_id for row in self.open_task(task).splits.test]

    def keep_winner(self, task: BenchTask, program: Program, **found: str | int) -> str:
        """Store a winner's texts and parameters, and by whom it was first `found`; its id."""
        key = {**self.key(task), "program": program_id(program)}
        train = self.open_task(task).splits.train
        self.measure_once(WINNERS, key, lambda: {**found, "program": without_rows(program, train)})
        return program_id(program)

    def _row_scores(self, task: BenchTask, program: Program, job: Job, name: str) -> list[RowScore]:
        if program["kind"] == "prompt":
            return ours.score_test(self.open_task(task), program, self.proxy.base_url(name))
        folder = Path(job.folder)
        write_json(folder / "job.json", {**vars(job), "base_url": self.proxy.base_url(name)})
        write_json(folder / "program.json", program)
        module, python = PEERS["capo" if program["kind"] == "capo" else "bootstrap"]
        command = argv(module, "test", folder / "job.json", str(folder / "program.json"), python=python)
        end = watch(command, self.proxy.accounts[name], folder / "log")
        if end.error or end.stopped:
            raise RuntimeError(f"the test of {name} failed: {end.error or end.stopped}")
        return read_row_scores(folder)


def about(name: str) -> dict[str, str]:
    """A contestant's version, and the commit that it is measured at."""
    return {"version": version_of(name), "commit": commit()}


def program_id(program: Program) -> str:
    return digest(program)[:16]


def test_result(scores: Sequence[RowScore], groups: list[str], spent: Spending) -> dict[str, Any]:
    """Scores by row, their mean with its interval over rows, and what a row costs."""
    score, n = mean_interval([one.score for one in scores], 0, groups), len(scores)
    return {
        "mean": score.mean,
        "low": score.low,
        "high": score.high,
        "scores": [round(one.score, 4) for one in scores],
        "groups": groups,
        "unparsed": sum(one.unparsed for one in scores) / n,
        "calls_a_row": spent.calls / n,
        "prompt_tokens_a_row": spent.prompt_tokens / n,
        "completion_tokens_a_row": spent.completion_tokens / n,
    }


def read_row_scores(folder: Path) -> list[RowScore]:
    """The scores that a peer's process wrote, in the order of the test rows."""
    lines = (folder / "scores.jsonl").read_text(encoding="utf-8").splitlines()
    return [RowScore(**json.loads(line)) for line in lines]
