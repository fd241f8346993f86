"""The first half: the teacher's answers, what is learned of them, and the prompt's own arms of the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.arms import Arm, Bench
from distill.dataset import Entry, compose, read_dataset, refuse_few, write_dataset
from distill.folder import Distilled
from distill.ladder import sift
from distill.plan import Plan
from distill.progress import ticking
from distill.reasons import Rejected, counted, listed
from distill.settings import Settings
from distill.teacher import Answer, ask_teacher
from optimizer.budget import Budget, Meter
from optimizer.calls import SqliteCalls
from optimizer.client import Client, Endpoint
from optimizer.endpoints import Source, answering
from optimizer.exits import run_async
from optimizer.progress import Watch

TEACHER = "teacher"
BARE, BEST = "bare", "best"
READING = " (scored, then timed: usually 1-3 minutes on two cores)"


@dataclass(frozen=True)
class Taught:
    """What the student is to learn, what that took, and how the base did without any of it."""

    entries: list[Entry]
    dataset: str
    keep: float
    rejected: Mapping[str, int]
    calls: int
    seconds: float
    arms: Mapping[str, Arm]

    def to_json(self) -> dict[str, Any]:
        shown = {key: value for key, value in vars(self).items() if key not in ("entries", "arms")}
        return {**shown, "arms": {name: arm.to_json() for name, arm in self.arms.items()}}


def recall_taught(folder: Distilled, plan: Plan) -> Taught | None:
    """What an earlier, interrupted distillation had finished of this half."""
    kept = folder.kept("taught")
    if kept is None:
        return None
    entries = read_dataset(folder.dataset_path, plan.student, kept["dataset"])
    return Taught(**{**kept, "entries": entries, "arms": {n: Arm.from_json(a) for n, a in kept["arms"].items()}})


@dataclass(frozen=True)
class Lessons:
    """What came through the filter, what did not, the threshold, and the sha256 of dataset.jsonl."""

    entries: list[Entry]
    rejected: list[Rejected]
    keep: float
    dataset: str


@dataclass(frozen=True)
class Teaching:
    """One teaching: its engines start, answer and stop in here."""

    plan: Plan
    settings: Settings
    folder: Distilled
    watch: Watch
    store: SqliteCalls

    def run(self) -> Taught:
        """Ask, sift, write; then keep the result for --resume. Raises `UserError` where too little came through."""
        lessons, arms = self.sessions()
        calls, seconds = self.store.totals()[TEACHER].calls, self.store.working_seconds(TEACHER)
        counts = {str(kind): n for kind, n in counted(lessons.rejected).items()}
        taught = Taught(lessons.entries, lessons.dataset, lessons.keep, counts, calls, seconds, arms)
        self.folder.keep("taught", taught.to_json())
        return taught

    def lessons(self, answers: Sequence[Answer]) -> Lessons:
        """What of the answers is learned, written down. Raises `UserError` where that is too little."""
        plan, settings = self.plan, self.settings
        sifted = sift(answers, plan.metric, [field.name for field in plan.student.outputs], settings.rules)
        entries, misread = compose(sifted.kept, plan.student)
        rejected = [*sifted.rejected, *misread]
        self.watch.say(f"kept {len(entries)} answers at {sifted.keep:g} or above; rejected: {listed(rejected)}")
        dataset = write_dataset(self.folder.path, entries, rejected)
        refuse_few(entries, rejected, sifted)
        return Lessons(entries, rejected, sifted.keep, dataset)

    def sessions(self) -> tuple[Lessons, dict[str, Arm]]:
        """The teacher's endpoint first; too few lessons end it all before test is read. A second engine only for what
        the teacher's weights cannot answer."""
        plan, settings, arms = self.plan, self.settings, dict[str, Arm]()
        here = {BEST: plan.best} if settings.teacher is None else {}
        here |= {BARE: plan.student} if plan.teaches_itself and not settings.source.base_url else {}
        here |= {BEST: plan.best} if BARE in here else {}
        log_path = self.folder.logs_dir / "teacher.log"
        with answering(settings.source, plan.teacher_model, log_path, self.watch.say) as (endpoint, _):
            lessons = self.lessons(run_async(self.ask(endpoint)))
            arms |= run_async(self.measure(here, endpoint))
        left = {name: prompt for name, prompt in {BARE: plan.student, BEST: plan.best}.items() if name not in arms}
        if left:
            log_path = self.folder.logs_dir / "base.log"
            with answering(Source(), plan.student_model, log_path, self.watch.say) as (endpoint, _):
                arms |= run_async(self.measure(left, endpoint))
        return lessons, arms

    async def ask(self, endpoint: Endpoint) -> list[Answer]:
        plan, settings = self.plan, self.settings
        per_row = settings.k + 1
        self.watch.say(
            f"asking the teacher for {per_row} answers to each of {len(plan.rows)} rows, but for its own demos "
            "(usually 2-8 minutes on two cores; the time left is shown)"
        )
        meter = Meter(Budget(), self.store.totals())
        with ticking(self.watch, "answers") as ticker:
            async with Client(endpoint, self.store, meter) as client:
                return await ask_teacher(
                    plan.teacher,
                    plan.rows,
                    client,
                    k=settings.k,
                    temperature=settings.temperature,
                    report=ticker.tick,
                )

    async def measure(self, prompts: Mapping[str, Any], endpoint: Endpoint) -> dict[str, Arm]:
        splits = self.plan.prepared.splits
        bench = Bench(splits.test, splits.dev, self.plan.metric, self.store, self.settings.seed)
        arms = {}
        for name, prompt in prompts.items():
            self.watch.say(f"reading test: base + {name} prompt, {len(splits.test)} rows{READING}")
            arms[name] = await bench.measure(prompt, endpoint)
        return arms
