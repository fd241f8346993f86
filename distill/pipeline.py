"""The steps of `distill`: ask the teacher, train the students, serve them, and compare them with the prompt."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from distill.folder import DistilledFolder
from distill.plan import DistillPlan
from distill.progress import LongStep, long_step
from distill.result import Distillation, TrainedStudent
from distill.settings import DistillSettings
from distill.teach.dataset import TrainingRow, to_training_rows
from distill.teach.filter import from_labels
from distill.teach.teaching import BARE, BEST, TIME_OF_AN_ARM, TeacherData, TeacherSession, load_teacher_data
from distill.train.encode import Encoder
from distill.train.hyper import HyperParameters
from distill.train.job import DevSet, KeepGoing, ReportTraining, TrainingJob, TrainingProgress
from distill.train.tune import tune
from distill.verdict.adapter_check import TOLERANCE, AdapterCheck, ask_tokens, compare_logprobs, peft_logprobs
from distill.verdict.arms import Arm, ArmBench
from distill.verdict.retention import Retention
from distill.verdict.verdict import DistillVerdict, TrainingCost, compare_arms
from promptstill.command.exits import run_async
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.client import Endpoint
from promptstill.endpoint.store import CallStore
from promptstill.endpoint.stores import open_calls
from promptstill.engine.source import ModelSource, open_endpoint
from promptstill.engine.vllm import Adapters
from promptstill.errors import InfrastructureError, ReplyError, UserError
from promptstill.events import Listener, Say, teller
from promptstill.report.drawing import draw_or_say
from promptstill.scoring.rivals.of_recipe import rivals_of
from promptstill.scoring.rivals.report import compare_rivals
from promptstill.shell import command_line
from promptstill.stats import Estimate
from promptstill.task.judge import judge_note, judge_paid_by
from promptstill.task.metrics import MetricResult, apply_metric
from promptstill.task.metrics.apply import find_labels, overall_score

PROBE_ROWS = 16  # dev rows by which an adapter is checked
MAX_DEV_GAP = 0.1  # of dev over the end of test's interval, so that chance does not exceed it
OBJECTIVE = "hard"  # what students are trained by, of distill.train.objectives
STUDENT, GOLD = "student", "gold"


@dataclass(frozen=True)
class Steps:
    """The steps, each using what the ones before it made. --resume does not repeat a finished one."""

    plan: DistillPlan
    settings: DistillSettings
    folder: DistilledFolder
    listener: Listener

    def say(self, text: str) -> None:
        teller(self.listener)(text)

    def run(self) -> Distillation:
        with closing(open_calls(self.folder.calls_url)) as store:
            self.folder.write_step("plan", self.plan.page_facts)
            allowance = Allowance(spent=store.totals())
            try:
                # The filter and the dev scores ask a judge outside of any client.
                with judge_paid_by(allowance):
                    return self.take_steps(store, allowance)
            except BaseException:
                draw_report(self.folder, self.say)
                raise
            finally:
                if note := judge_note(allowance.judge_cost):
                    self.say(note)

    def take_steps(self, store: CallStore, allowance: Allowance) -> Distillation:
        """Every step that an earlier part of the distillation has not finished."""
        data = load_teacher_data(self.folder, self.plan)
        if data is None:
            draw_report(self.folder, self.say, running=True)
            data = TeacherSession(self.plan, self.settings, self.folder, self.listener, store, allowance).run()
        draw_report(self.folder, self.say, running=True)
        student, gold = self.train_students(data)
        splits, seed = self.plan.opened.splits, self.settings.seed
        bench = ArmBench(splits.test, splits.dev, self.plan.metric, store, allowance, seed)
        return self.compare(data, student, gold, bench)

    def train_students(self, data: TeacherData) -> tuple[TrainedStudent, TrainedStudent | None]:
        """The student, and a second one trained on as many labels with the same hyper-parameters.

        Under `accelerate launch` every process calls this.
        """
        student = self.train_student(STUDENT, data.rows, data.context, self.settings.search)
        gold_rows = self.gold_rows(len(data.rows)) if self.settings.gold_arm else []
        gold = self.train_student(GOLD, gold_rows, data.context, 0, student.hyper) if gold_rows else None
        return student, gold

    def gold_rows(self, count: int) -> list[TrainingRow]:
        """Training rows from `count` random labelled rows, or from all where there are fewer."""
        labelled = [row for row in self.plan.rows if row.outputs]
        chosen = random.Random(self.settings.seed).sample(labelled, min(count, len(labelled)))
        return to_training_rows(from_labels(chosen), self.plan.student_prompt)[0]

    def train_student(
        self,
        name: str,
        rows: Sequence[TrainingRow],
        context: int,
        trials: int,
        hyper: HyperParameters | None = None,
    ) -> TrainedStudent:
        """Train on the `rows` of at most `context` tokens, after `trials` trainings that search hyper-parameters."""
        from distill.train.loop import train

        job = self.make_job(name, rows, context, hyper or self.settings.hyper)

        def train_once(hyper: HyperParameters, work_dir: Path, keep_going: KeepGoing) -> float:
            trial = replace(job, hyper=hyper, work_dir=work_dir)
            with long_step(self.listener, f"training r={hyper.r}, lr={hyper.lr:.1e}") as step:
                result = train(trial, work_dir / "adapter", step.update_training, keep_going=keep_going)
            return max(result.dev_scores)

        if trials:
            found = tune(train_once, job.hyper, trials, self.folder.work_dir / "search", self.report_trial)
            job = replace(job, hyper=found.hyper, work_dir=found.work_dir)
        self.say(
            f"training the {name} on {len(job.rows)} rows, up to {job.hyper.epochs} epochs "
            "(usually 3-10 minutes on two cores; the time left is shown)"
        )
        with long_step(self.listener, name) as step:
            training = train(job, job.work_dir / "adapter", self.follow_training(step))
        return TrainedStudent(job.work_dir / "adapter", job.work_dir / "metrics.jsonl", job.hyper, training)

    def follow_training(self, step: LongStep) -> ReportTraining:
        """Updates the step, and draws the page again after each epoch."""

        def report(progress: TrainingProgress) -> None:
            step.update_training(progress)
            if progress.dev is not None:
                draw_report(self.folder, self.say, running=True)

        return report

    def report_trial(self, number: int, hyper: HyperParameters, score: float | None) -> None:
        outcome = "pruned" if score is None else f"dev {100 * score:.1f}"
        self.say(f"search {number}: r={hyper.r}, lr={hyper.lr:.1e}, {hyper.epochs} epochs: {outcome}")

    def make_job(self, name: str, rows: Sequence[TrainingRow], context: int, hyper: HyperParameters) -> TrainingJob:
        """The training rows of at most `context` tokens, and the dev rows, as token ids. Raises `UserError` where none
        is left."""
        from distill.train.objectives import OBJECTIVES
        from distill.train.weights import load_tokenizer

        plan, model = self.plan, self.plan.student_model
        encoder = Encoder(load_tokenizer(model), plan.student_prompt)
        encoded, too_long = OBJECTIVES[OBJECTIVE].encode(encoder, [row.example for row in rows], context)
        if too_long:
            where = too_long[0].location
            self.say(f"{len(too_long)} training rows are longer than {context} tokens and left out: {where} …")
        if not encoded:
            raise UserError(
                "No training row fits the student's context.",
                f"It holds {context} tokens.",
                "Give shorter rows, or another --student.",
            )
        prompts = [encoder.prompt_ids(plan.student_prompt.messages(row.inputs)) for row in plan.opened.splits.dev]
        dev = DevSet(prompts, plan.student_prompt.decoding, self.score_dev)
        return TrainingJob(model, encoded, dev, hyper, self.folder.work_dir / name, objective=OBJECTIVE)

    def score_dev(self, replies: list[str]) -> float:
        """The task metric on dev; a reply that does not parse scores 0."""
        metric, results = self.plan.metric, []
        for row, text in zip(self.plan.opened.splits.dev, replies, strict=True):
            try:
                results.append(apply_metric(metric, row, self.plan.student_prompt.parse(text)))
            except ReplyError:
                results.append(MetricResult(0.0, labels=find_labels(metric, row, None)))
        return overall_score(results)

    def compare(
        self, data: TeacherData, student: TrainedStudent, gold: TrainedStudent | None, bench: ArmBench
    ) -> Distillation:
        """Serve the students, check their adapters, evaluate them on test, and compare."""
        students = {STUDENT: student} | ({GOLD: gold} if gold else {})
        names = {f"{self.plan.name}-{kind}-{one.sha256[:8]}": one for kind, one in students.items()}
        adapters = Adapters(
            {name: one.adapter_dir for name, one in names.items()}, max(one.hyper.r for one in students.values())
        )
        log_path = self.folder.logs_dir / "student.log"
        source = ModelSource(window=self.settings.source.window)
        with open_endpoint(source, self.plan.student_model, log_path, self.say, adapters=adapters) as (endpoint, _):
            checks = [self.check_adapter(name, one, endpoint) for name, one in names.items()]
            arms = [run_async(self.measure_arm(name, endpoint, bench)) for name in names]
        for (name, one), arm in zip(names.items(), arms, strict=True):
            if warning := dev_gap_warning(name, arm.score, one.training.dev_scores):
                self.say(warning)
        retention = self.measure_retention(student)
        verdict = self.verdict(data, student, arms, retention)
        difference = self.merge(student) if self.settings.merge else None
        return Distillation(self.plan, self.settings, data, student, gold, verdict, checks[0], retention, difference)

    def verdict(
        self, data: TeacherData, student: TrainedStudent, arms: Sequence[Arm], retention: Retention
    ) -> DistillVerdict:
        """The verdict on the arms of the student and, if there is one, of the gold student."""
        training = student.training
        cost = TrainingCost(
            len(data.rows),
            data.calls,
            data.seconds,
            training.seconds,
            training.device,
            (retention.base, retention.adapted),
        )
        count = self.folder.count_students(self.plan.opened.splits.test, student.sha256)
        gold = arms[1] if len(arms) > 1 else None
        verdict = compare_arms(data.arms[BARE], data.arms[BEST], arms[0], gold, cost, count, self.settings.seed)
        return self.add_rivals(verdict) if self.settings.rivals else verdict

    def add_rivals(self, verdict: DistillVerdict) -> DistillVerdict:
        """The verdict with what needs no language model."""
        found = run_async(rivals_of(self.plan.opened, self.settings.embedder, self.say))
        return replace(verdict, rivals=compare_rivals(verdict.student.marks, found, self.settings.seed))

    def check_adapter(self, name: str, student: TrainedStudent, endpoint: Endpoint) -> AdapterCheck:
        """Raises `InfrastructureError` where the endpoint does not serve this adapter, by its log-probabilities."""
        self.say(f"checking that the endpoint serves the adapter {name}, against PEFT (usually 10-30 s)")
        rows = [row.inputs for row in self.plan.opened.splits.dev[:PROBE_ROWS]]
        probes = run_async(ask_tokens(endpoint, name, self.plan.student_prompt, rows))
        on, off = peft_logprobs(self.plan.student_model, student.adapter_dir, probes)
        precision = "fp32" if student.training.device.startswith("cpu") else "bf16"
        check = compare_logprobs([one.logprobs for one in probes], on, off, TOLERANCE[precision])
        self.say(f"{name}: {check.sentence}")
        if check.state != "live":
            raise InfrastructureError(
                f"The endpoint does not answer with the adapter {student.adapter_dir}.",
                check.sentence,
                "Nothing was written as a result. Train again with another --seed or a lower --lr.",
            )
        return check

    async def measure_arm(self, name: str, endpoint: Endpoint, bench: ArmBench) -> Arm:
        self.say(f"evaluating {name} + bare prompt on {len(bench.test)} test rows ({TIME_OF_AN_ARM})")
        return await bench.measure(self.plan.student_prompt.model_copy(update={"model": name}), endpoint)

    def measure_retention(self, student: TrainedStudent) -> Retention:
        from distill.train.adapter import load_adapter
        from distill.train.weights import best_device, load_base, load_tokenizer
        from distill.verdict.retention import measure_retention

        self.say("checking what the student forgot, on the off-task probe (usually 10-30 s)")
        model = self.plan.student_model
        adapted = load_adapter(load_base(model, "auto", best_device()), student.adapter_dir)
        return measure_retention(adapted, load_tokenizer(model))

    def merge(self, student: TrainedStudent) -> float:
        from distill.train.adapter import merge_adapter

        self.say("merging the adapter into the base's weights (usually under a minute)")
        shutil.rmtree(self.folder.merged_dir, ignore_errors=True)  # a killed process may have left it
        return merge_adapter(self.plan.student_model, student.adapter_dir, self.folder.merged_dir)


def dev_gap_warning(name: str, test: Estimate, dev_scores: Sequence[float]) -> str | None:
    """A warning where the engine's test score is far below the dev score by which training chose its epoch."""
    dev = max(dev_scores, default=0.0)
    if dev < test.high + MAX_DEV_GAP:
        return None
    return (
        f"{name}: {100 * dev:.1f} on dev in training, but {100 * test.mean:.1f} on test by the engine. Chance does not "
        "explain that: look in report.html whether its replies end where they should."
    )


def draw_report(folder: DistilledFolder, say: Say, *, running: bool = False) -> None:
    """Renew report.html, or say that it could not be drawn."""

    def draw() -> None:
        # It loads Matplotlib, for which a distillation need not wait to begin.
        from distill.report.page import write_report

        write_report(folder, running=running)

    draw_or_say(draw, say, command_line("distill", "--report", folder.path))
