"""Trains the students of a distillation: the one that is compared, one on labels, and, of a cross-validated run, that
which is shipped. A training that was interrupted goes on from its checkpoint.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from distill.folder import DistilledFolder
from distill.plan import DistillPlan
from distill.progress import LongStep, long_step
from distill.report.drawing import draw_report
from distill.result import TrainedStudent
from distill.settings import DistillSettings
from distill.teach.dataset import TrainingRow, to_training_rows
from distill.teach.filter import from_labels
from distill.teach.teaching import TeacherData
from distill.train.encode import Encoder
from distill.train.hyper import HyperParameters
from distill.train.job import DevSet, KeepGoing, ReportTraining, TrainingJob, TrainingProgress
from distill.train.tune import tune
from promptstill.errors import ReplyError, UserError
from promptstill.events import Listener, teller
from promptstill.task.metrics import MetricResult, apply_metric
from promptstill.task.metrics.apply import find_labels, overall_score
from promptstill.text import plural

OBJECTIVE = "hard"  # what students are trained by, of distill.train.objectives
STUDENT, GOLD, FINAL = "student", "gold", "final"


@dataclass(frozen=True)
class Students:
    """The trained students. gold: trained on labels; None where it was left out. final: of a cross-validated run, the
    one that is shipped, trained on all rows; else None, and the student itself is shipped.
    """

    student: TrainedStudent
    gold: TrainedStudent | None
    final: TrainedStudent | None

    @property
    def named(self) -> dict[str, TrainedStudent]:
        """Those that there are, the compared ones first."""
        each = {STUDENT: self.student, GOLD: self.gold, FINAL: self.final}
        return {name: one for name, one in each.items() if one}

    @property
    def compared(self) -> list[str]:
        """The names of those that are evaluated on test."""
        return [name for name in self.named if name != FINAL]


@dataclass(frozen=True)
class StudentTraining:
    """Trains the students on what the teacher answered."""

    plan: DistillPlan
    settings: DistillSettings
    folder: DistilledFolder
    listener: Listener

    def say(self, text: str) -> None:
        teller(self.listener)(text)

    def run(self, data: TeacherData) -> Students:
        """The student, a second one trained on as many labels with the same hyper-parameters, and the final one.

        Under `accelerate launch` every process calls this.
        """
        student = self.train_student(STUDENT, data.rows, data.context, self.settings.search)
        gold_rows = self.gold_rows(len(data.rows)) if self.settings.gold_arm else []
        gold = self.train_student(GOLD, gold_rows, data.context, 0, student.hyper) if gold_rows else None
        final = self.train_final(data.final.rows, data.context, student) if data.final else None
        return Students(student, gold, final)

    def train_final(self, rows: Sequence[TrainingRow], context: int, student: TrainedStudent) -> TrainedStudent:
        """The student on all rows: trained as `student` was, up to the epoch that was kept of it.

        No row is left to choose an epoch by, so the last is kept. The learning rate falls as it fell for `student`.
        """
        job = self.make_job(FINAL, rows, context, student.hyper)
        job = replace(job, dev=None, last_epoch=student.training.epoch)
        self.say(
            f"training the student that is shipped, in the same way on all rows: {len(job.rows)} training rows, "
            f"{plural(job.epochs, 'epoch')}"
        )
        return self.train_job(FINAL, job)

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
        return self.train_job(name, job)

    def train_job(self, name: str, job: TrainingJob) -> TrainedStudent:
        """Train, or go on with what is in the job's folder."""
        from distill.train.loop import train

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
