"""The steps of `distill`: teach, train, serve the result, compare, and write down what came of it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill import logprobs
from distill.arms import Arm, Bench
from distill.dataset import Entry, compose
from distill.distillation import Distillation, Schooled
from distill.encode import Encoder, context_limit, encode
from distill.folder import Distilled
from distill.forgetting import Recall
from distill.hyper import Hyper
from distill.job import Dev, Job, Progress, Report
from distill.ladder import labels
from distill.plan import Plan
from distill.progress import Ticker, ticking
from distill.search import search
from distill.settings import Settings
from distill.teach import BARE, BEST, READING, Taught, Teaching, recall_taught
from distill.verdict import Cost, judge
from optimizer.calls import SqliteCalls
from optimizer.client import Endpoint
from optimizer.endpoints import Source, answering
from optimizer.engine import Adapters
from optimizer.errors import InfrastructureError, ReplyError, UserError
from optimizer.evaluate import apply
from optimizer.exits import run_async
from optimizer.progress import Watch
from optimizer.stats import Estimate

PROBES = 16
FAR = 0.1  # beyond the interval's end, so that chance does not raise it
STUDENT, GOLD = "student", "gold"


@dataclass(frozen=True)
class Steps:
    """The steps, each using what the ones before it made; a finished one is not done again by --resume."""

    plan: Plan
    settings: Settings
    folder: Distilled
    watch: Watch

    def run(self) -> Distillation:
        with closing(SqliteCalls(self.folder.calls_path)) as store:
            self.folder.keep("plan", self.plan.told)
            try:
                taught = recall_taught(self.folder, self.plan)
                if taught is None:
                    draw(self.folder, running=True)
                    taught = Teaching(self.plan, self.settings, self.folder, self.watch, store).run()
                draw(self.folder, running=True)
                student, gold = self.train(taught)
                return self.compare(taught, student, gold, store)
            except BaseException:
                draw(self.folder)
                raise

    def train(self, taught: Taught) -> tuple[Schooled, Schooled | None]:
        """The student, and one on as many labels by the same hyper-parameters. All processes of a launch do this."""
        student = self.school(STUDENT, taught.entries, self.settings.search)
        lessons = self.gold_entries(len(taught.entries)) if self.settings.gold_arm else []
        gold = self.school(GOLD, lessons, 0, student.hyper) if lessons else None
        return student, gold

    def gold_entries(self, count: int) -> list[Entry]:
        """As many labelled train rows as the student has lessons, or all there are."""
        rows = [row for row in self.plan.rows if row.outputs]
        chosen = random.Random(self.settings.seed).sample(rows, min(count, len(rows)))
        return compose(labels(chosen), self.plan.student)[0]

    def school(self, name: str, entries: Sequence[Entry], trials: int, hyper: Hyper | None = None) -> Schooled:
        """Train on `entries`, after a search of `trials` trainings where that is asked for."""
        job = self.job(name, entries, hyper or self.settings.hyper)
        from distill.train import train

        def once(hyper: Hyper, work_dir: Path, keep_going: Any) -> float:
            one = replace(job, hyper=hyper, work_dir=work_dir)
            with ticking(self.watch, f"training r={hyper.r}, lr={hyper.lr:.1e}") as ticker:
                return max(train(one, work_dir / "adapter", ticker.follow, keep_going=keep_going).dev_scores)

        if trials:
            found = search(once, job.hyper, trials, self.folder.work / "search", self.tell)
            job = replace(job, hyper=found.hyper, work_dir=found.work_dir)
        self.watch.say(
            f"training the {name} on {len(job.rows)} lessons, up to {job.hyper.epochs} epochs "
            "(usually 3-10 minutes on two cores; the time left is shown)"
        )
        with ticking(self.watch, name) as ticker:
            trained = train(job, job.work_dir / "adapter", self.shown(ticker))
        return Schooled(job.work_dir / "adapter", job.work_dir / "metrics.jsonl", job.hyper, trained)

    def shown(self, ticker: Ticker) -> Report:
        """The ticker, with the page renewed after each epoch."""

        def follow(progress: Progress) -> None:
            ticker.follow(progress)
            if progress.dev is not None:
                draw(self.folder, running=True)

        return follow

    def tell(self, number: int, hyper: Hyper, score: float | None) -> None:
        came = "given up" if score is None else f"dev {100 * score:.1f}"
        self.watch.say(f"search {number}: r={hyper.r}, lr={hyper.lr:.1e}, {hyper.epochs} epochs: {came}")

    def job(self, name: str, entries: Sequence[Entry], hyper: Hyper) -> Job:
        """The lessons and the dev rows as token ids. Raises `UserError` where no lesson fits the model's context."""
        from distill.weights import load_tokenizer

        plan, model = self.plan, self.plan.student_model
        encoder, limit = Encoder(load_tokenizer(model), plan.student), context_limit(model)
        rows, too_long = encode(encoder, [entry.lesson for entry in entries], limit)
        if too_long:
            self.watch.say(
                f"{len(too_long)} lessons are longer than {limit} tokens and left out: {too_long[0].where} …"
            )
        if not rows:
            raise UserError(
                "No lesson fits the student's context.",
                f"It holds {limit} tokens.",
                "Give shorter rows, or another --student.",
            )
        dev = plan.prepared.splits.dev
        prompts = [encoder.prompt_ids(plan.student.messages(row.inputs)) for row in dev]
        return Job(model, rows, Dev(prompts, plan.student.decoding, self.score_dev), hyper, self.folder.work / name)

    def score_dev(self, replies: list[str]) -> float:
        """The task metric on dev; a reply that does not parse scores 0."""
        scores = []
        for row, text in zip(self.plan.prepared.splits.dev, replies, strict=True):
            try:
                scores.append(apply(self.plan.metric, row, self.plan.student.parse(text)))
            except ReplyError:
                scores.append(0.0)
        return sum(scores) / len(scores)

    def compare(self, taught: Taught, student: Schooled, gold: Schooled | None, store: SqliteCalls) -> Distillation:
        """Serve what was trained, make sure that it is what answers, and read test."""
        schooled = {STUDENT: student} | ({GOLD: gold} if gold else {})
        names = {f"{self.plan.name}-{kind}-{one.sha256[:8]}": one for kind, one in schooled.items()}
        adapters = Adapters(
            {name: one.adapter_dir for name, one in names.items()}, max(s.hyper.r for s in schooled.values())
        )
        log_path = self.folder.logs_dir / "student.log"
        source = Source(window=self.settings.source.window)
        with answering(source, self.plan.student_model, log_path, self.watch.say, adapters=adapters) as (endpoint, _):
            live = [self.prove(name, one, endpoint) for name, one in names.items()]
            arms = [run_async(self.measure(name, endpoint, store)) for name in names]
        for (name, one), arm in zip(names.items(), arms, strict=True):
            if said := falls_short(name, arm.score, one.trained.dev_scores):
                self.watch.say(said)
        recall = self.recall(student)
        cost = Cost(
            len(taught.entries),
            taught.calls,
            taught.seconds,
            student.trained.seconds,
            student.trained.device,
            (recall.base, recall.adapted),
        )
        best, bare = taught.arms[BEST], taught.arms[BARE]
        students = self.folder.measured(self.plan.prepared.splits.digests()["test"], student.sha256)
        verdict = judge(bare, best, arms[0], arms[1] if gold else None, cost, students, self.settings.seed)
        merged = self.merge(student) if self.settings.merge else None
        return Distillation(self.plan, self.settings, taught, student, gold, verdict, live[0], recall, merged)

    def prove(self, name: str, schooled: Schooled, endpoint: Endpoint) -> logprobs.Liveness:
        """That the endpoint serves this adapter, by log-probabilities. Raises `InfrastructureError` else."""
        self.watch.say(f"checking that the endpoint answers with {name}, against PEFT (usually 10-30 s)")
        rows = [row.inputs for row in self.plan.prepared.splits.dev[:PROBES]]
        spoken = run_async(logprobs.ask(endpoint.base_url, name, self.plan.student, rows))
        on, off = logprobs.peft_logprobs(self.plan.student_model, schooled.adapter_dir, spoken)
        precision = "fp32" if schooled.trained.device.startswith("cpu") else "bf16"
        found = logprobs.compare_logprobs([one.logprobs for one in spoken], on, off, logprobs.TOLERANCE[precision])
        self.watch.say(f"{name}: {found.sentence}")
        if found.state != "live":
            raise InfrastructureError(
                f"The adapter {schooled.adapter_dir} is not what the endpoint answers with.",
                found.sentence,
                "Nothing was written as a result. Train again with another --seed or a lower --lr.",
            )
        return found

    async def measure(self, name: str, endpoint: Endpoint, store: SqliteCalls) -> Arm:
        splits = self.plan.prepared.splits
        self.watch.say(f"reading test: {name} + bare prompt, {len(splits.test)} rows{READING}")
        bench = Bench(splits.test, splits.dev, self.plan.metric, store, self.settings.seed)
        return await bench.measure(self.plan.student.model_copy(update={"model": name}), endpoint)

    def recall(self, schooled: Schooled) -> Recall:
        """What of the off-task probe is left."""
        from distill.adapter import load_adapter
        from distill.forgetting import recall
        from distill.weights import best_device, load_base, load_tokenizer

        self.watch.say("checking what the student forgot, on the off-task probe (usually 10-30 s)")
        model = self.plan.student_model
        adapted = load_adapter(load_base(model, "auto", best_device()), schooled.adapter_dir)
        return recall(adapted, load_tokenizer(model))

    def merge(self, schooled: Schooled) -> float:
        from distill.adapter import merge

        self.watch.say("merging the adapter into the base's weights (usually under a minute)")
        shutil.rmtree(self.folder.merged_dir, ignore_errors=True)  # what a killed process left
        return merge(self.plan.student_model, schooled.adapter_dir, self.folder.merged_dir)


def falls_short(name: str, test: Estimate, dev_scores: Sequence[float]) -> str | None:
    """What to look at where test, read by the engine, lies far below the dev score that training chose by."""
    dev = max(dev_scores, default=0.0)
    if dev < test.high + FAR:
        return None
    return (
        f"{name}: {100 * dev:.1f} on dev in training, but {100 * test.mean:.1f} on test by the engine. So much is no "
        "chance: look in report.html whether its replies end where they should."
    )


def draw(folder: Distilled, *, running: bool = False) -> None:
    """Renew report.html. Matplotlib loads here, so that a distillation does not wait for it to begin."""
    from distill.report import write_report

    write_report(folder, running=running)
