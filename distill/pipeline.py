"""The steps of `distill`: ask the teacher, train the students, serve them, and compare them with the prompt."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from distill.budget import UncountedCalls, open_allowance
from distill.folder import SPENT, DistilledFolder
from distill.plan import DistillPlan
from distill.report.drawing import draw_report
from distill.result import Distillation, FinalStudent, TrainedStudent
from distill.settings import DistillSettings
from distill.teach.teaching import BARE, BEST, TIME_OF_AN_ARM, TeacherData, TeacherSession, load_teacher_data
from distill.training import FINAL, STUDENT, Students, StudentTraining
from distill.verdict.adapter_check import TOLERANCE, AdapterCheck, ask_tokens, compare_logprobs, peft_logprobs
from distill.verdict.arms import Arm, ArmBench
from distill.verdict.retention import Retention
from distill.verdict.verdict import DistillVerdict, FinalTraining, TrainingCost, compare_arms
from promptstill.command.exits import run_async
from promptstill.command.limits import money_line
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.store import CallStore
from promptstill.endpoint.stores import open_calls
from promptstill.engine.source import open_endpoint
from promptstill.engine.vllm import Adapters
from promptstill.errors import InfrastructureError
from promptstill.events import Listener, teller
from promptstill.scoring.rivals.of_recipe import rivals_of
from promptstill.scoring.rivals.report import compare_rivals
from promptstill.stats import Estimate
from promptstill.task.judge import judge_note, judge_paid_by
from promptstill.task.metrics.apply import within_limits

PROBE_ROWS = 16  # dev rows by which an adapter is checked
MAX_DEV_GAP = 0.1  # of dev over the end of test's interval, so that chance does not exceed it


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
            allowance = open_allowance(self.plan, self.settings, store, self.folder.unstored_costs())
            plan = self.plan.with_metric(within_limits(self.plan.metric, allowance))
            try:
                # The filter and the dev scores ask a judge outside of any client.
                with judge_paid_by(allowance):
                    return replace(self, plan=plan).take_steps(store, allowance)
            except BaseException:
                draw_report(self.folder, self.say)
                raise
            finally:
                self.folder.write_step(SPENT, allowance.record())
                for line in filter(None, (judge_note(allowance.judge_cost), money_line(allowance))):
                    self.say(line)

    def take_steps(self, store: CallStore, allowance: Allowance) -> Distillation:
        """Every step that an earlier part of the distillation has not finished."""
        data = load_teacher_data(self.folder, self.plan)
        if data is None:
            draw_report(self.folder, self.say, running=True)
            data = TeacherSession(self.plan, self.settings, self.folder, self.listener, store, allowance).run()
        self.folder.write_step(SPENT, allowance.record())
        allowance.begin_test()
        draw_report(self.folder, self.say, running=True)
        students = StudentTraining(self.plan, self.settings, self.folder, self.listener).run(data)
        splits, seed = self.plan.opened.splits, self.settings.seed
        bench = ArmBench(splits.test, splits.dev, self.plan.metric, store, UncountedCalls(allowance), seed)
        return replace(self.compare(data, students, bench), spent=allowance.record())

    def compare(self, data: TeacherData, students: Students, bench: ArmBench) -> Distillation:
        """Serve the students, check their adapters, evaluate on test those that are compared, and compare.

        The final student is only checked: every test row had a part in it.
        """
        names = {kind: f"{self.plan.name}-{kind}-{one.sha256[:8]}" for kind, one in students.named.items()}
        paths = {names[kind]: one.adapter_dir for kind, one in students.named.items()}
        adapters = Adapters(paths, max(one.hyper.r for one in students.named.values()))
        log_path = self.folder.logs_dir / "student.log"
        here = self.settings.source.here
        with open_endpoint(here, self.plan.student_model, log_path, self.say, adapters=adapters) as (endpoint, _):
            checks = {kind: self.check_adapter(names[kind], one, endpoint) for kind, one in students.named.items()}
            arms = [run_async(self.measure_arm(names[kind], endpoint, bench)) for kind in students.compared]
        for kind, arm in zip(students.compared, arms, strict=True):
            if warning := dev_gap_warning(names[kind], arm.score, students.named[kind].training.dev_scores):
                self.say(warning)
        retention = self.measure_retention(students.student)
        verdict = self.verdict(data, students, arms, retention)
        final = FinalStudent(students.final, checks[FINAL]) if students.final else None
        difference = self.merge(students.final or students.student) if self.settings.merge else None
        parts = (self.plan, self.settings, data, students.student, students.gold, verdict, checks[STUDENT], retention)
        return Distillation(*parts, difference, final)

    def verdict(
        self, data: TeacherData, students: Students, arms: Sequence[Arm], retention: Retention
    ) -> DistillVerdict:
        """The verdict on the arms of the student and, if there is one, of the gold student."""
        training, trained = students.student.training, final_training(self.plan, data, students)
        cost = TrainingCost(
            len(data.rows),
            data.calls,
            data.seconds,
            training.seconds + (trained.seconds if trained else 0.0),
            training.device,
            (retention.base, retention.adapted),
        )
        count = self.folder.count_students(self.plan.opened.splits.test, students.student.sha256)
        gold = arms[1] if len(arms) > 1 else None
        verdict = compare_arms(data.arms[BARE], data.arms[BEST], arms[0], gold, cost, count, self.settings.seed)
        verdict = replace(verdict, final=trained)
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


def final_training(plan: DistillPlan, data: TeacherData, students: Students) -> FinalTraining | None:
    """What the verdict says of the shipped student of a cross-validated run; None of any other."""
    if not (plan.final and data.final and students.final):
        return None
    training = students.final.training
    return FinalTraining(plan.final.labelled, len(data.final.rows), training.epoch, training.seconds)


def dev_gap_warning(name: str, test: Estimate, dev_scores: Sequence[float]) -> str | None:
    """A warning where the engine's test score is far below the dev score by which training chose its epoch."""
    dev = max(dev_scores, default=0.0)
    if dev < test.high + MAX_DEV_GAP:
        return None
    return (
        f"{name}: {100 * dev:.1f} on dev in training, but {100 * test.mean:.1f} on test by the engine. Chance does not "
        "explain that: look in report.html whether its replies end where they should."
    )
