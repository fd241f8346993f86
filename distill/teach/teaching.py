"""The first half of a distillation: the teacher's answers, the training rows, and the base model's arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from distill.budget import TeacherPace, UncountedCalls, forecast_lines, teacher_calls
from distill.folder import DistilledFolder
from distill.folds import FinalPlan
from distill.plan import DistillPlan
from distill.progress import long_step
from distill.settings import DistillSettings
from distill.teach.dataset import (
    DATASET,
    TrainingRow,
    read_dataset,
    refuse_few_rows,
    to_training_rows,
    write_dataset,
)
from distill.teach.filter import filter_answers
from distill.teach.reasons import Rejected, count_reasons, reasons_line
from distill.teach.teacher import TEACHER, TeacherAnswer, ask_teacher
from distill.verdict.arms import Arm, ArmBench
from promptstill.command.exits import run_async
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.client import Client
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.rate_notice import RateNotice
from promptstill.endpoint.store import CallStore
from promptstill.engine.source import open_endpoint
from promptstill.events import Listener, teller
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.port import port_line, port_prompt
from promptstill.task.examples import Example

BARE, BEST = "bare", "best"
TIME_OF_AN_ARM = "usually 1-3 minutes on two cores"


@dataclass(frozen=True)
class FinalData:
    """The rows that the shipped student of a cross-validated run is trained on, and the figures of their dataset, as in
    `TeacherData`. They are in the folder's final/."""

    rows: list[TrainingRow]
    dataset_sha256: str
    min_score: float
    rejected: Mapping[str, int]
    prompt_id: str

    def to_json(self) -> dict[str, Any]:
        """All but the rows."""
        return {key: value for key, value in vars(self).items() if key != "rows"}


@dataclass(frozen=True)
class TeacherData:
    """The rows that the student is trained on, what they took, and the base model's arms.

    dataset_sha256: of dataset.jsonl. min_score: the filter's threshold. rejected: number of answers by reason.
    prompt_id: of the prompt as the teacher was asked it. calls, seconds: of the teacher.
    context: the tokens of prompt and reply that the student's engine serves.
    final: what the shipped student of a cross-validated run is trained on, else None.
    """

    rows: list[TrainingRow]
    dataset_sha256: str
    min_score: float
    rejected: Mapping[str, int]
    prompt_id: str
    calls: int
    seconds: float
    arms: Mapping[str, Arm]
    context: int
    final: FinalData | None = None

    def to_json(self) -> dict[str, Any]:
        """All but the rows, which dataset.jsonl has."""
        plain = {key: value for key, value in vars(self).items() if key not in ("rows", "arms", "final")}
        arms = {name: arm.to_json() for name, arm in self.arms.items()}
        return {**plain, "arms": arms, "final": self.final.to_json() if self.final else None}


def load_teacher_data(folder: DistilledFolder, plan: DistillPlan) -> TeacherData | None:
    """What an earlier, interrupted distillation finished of this half; None where it had not."""
    stored = folder.read_step(TEACHER)
    if stored is None or "prompt_id" not in stored:  # one that lacks it is made again, of stored replies
        return None
    rows = read_dataset(folder.dataset_path, plan.student_prompt, stored["dataset_sha256"])
    arms = {n: Arm.from_json(a) for n, a in stored["arms"].items()}
    final = load_final_data(folder, plan, stored["final"]) if stored.get("final") else None
    return TeacherData(**{**stored, "rows": rows, "arms": arms, "final": final})


def load_final_data(folder: DistilledFolder, plan: DistillPlan, stored: Mapping[str, Any]) -> FinalData:
    """What `FinalData.to_json` gave, with its rows."""
    rows = read_dataset(folder.final_dir / DATASET, plan.student_prompt, stored["dataset_sha256"])
    return FinalData(**{**stored, "rows": rows})


@dataclass(frozen=True)
class Dataset:
    """The written dataset: its rows, the rejected answers, the filter's threshold, and the sha256 of dataset.jsonl.

    prompt_id: of the prompt that was asked.
    """

    rows: list[TrainingRow]
    rejected: list[Rejected]
    min_score: float
    sha256: str
    prompt_id: str

    @property
    def rejected_counts(self) -> dict[str, int]:
        """Number of rejected answers by reason."""
        return {str(kind): n for kind, n in count_reasons(self.rejected).items()}

    @property
    def final_data(self) -> FinalData:
        """As what the shipped student of a cross-validated run is trained on."""
        return FinalData(self.rows, self.sha256, self.min_score, self.rejected_counts, self.prompt_id)


@dataclass(frozen=True)
class BaseAnswers:
    """What the engines of this half have answered: the datasets, the base model's arms, and the context of the
    student's engine. final: of the shipped student of a cross-validated run."""

    dataset: Dataset
    final: Dataset | None
    arms: dict[str, Arm]
    context: int


@dataclass(frozen=True)
class TeacherSession:
    """Runs this half; the engines that it starts are stopped when it ends. `allowance` counts what budget.py says."""

    plan: DistillPlan
    settings: DistillSettings
    folder: DistilledFolder
    listener: Listener
    store: CallStore
    allowance: Allowance

    def say(self, text: str) -> None:
        teller(self.listener)(text)

    def run(self) -> TeacherData:
        """Ask, filter, write the dataset, and store the result for --resume.

        Raises `UserError` where too few rows are left to train on.
        """
        for line in forecast_lines(self.plan, self.settings, self.most_calls, self.allowance.held):
            self.say(line)
        asked = self.ask_and_measure()
        dataset, final = asked.dataset, asked.final
        calls, seconds = self.store.totals()[TEACHER].calls, self.store.working_seconds(TEACHER)
        data = TeacherData(
            dataset.rows,
            dataset.sha256,
            dataset.min_score,
            dataset.rejected_counts,
            dataset.prompt_id,
            calls,
            seconds,
            asked.arms,
            asked.context,
            final.final_data if final else None,
        )
        self.folder.write_step(TEACHER, data.to_json())
        return data

    @cached_property
    def most_calls(self) -> int:
        """The calls that the teacher takes at most."""
        return teacher_calls(self.plan, self.settings)

    def ask_and_measure(self) -> BaseAnswers:
        """Ask the teacher, and measure the base model's arms.

        The datasets come first: too few rows end the distillation before test is evaluated. A second engine starts only
        for arms that the teacher's weights cannot answer. The last engine is always one of the student's weights, since
        these alone answer the bare prompt.
        """
        plan, settings, arms = self.plan, self.settings, dict[str, Arm]()
        log_path = self.folder.logs_dir / "teacher.log"
        teacher, thoughts = plan.teacher_model, plan.teacher_prompt.thinks
        source = settings.teacher_source
        with open_endpoint(source, teacher, log_path, self.say, thoughts=thoughts) as (endpoint, context):
            dataset = self.teach(endpoint, plan.teacher_prompt, plan.rows, self.folder.path)
            final = self.make_final(endpoint, plan.final) if plan.final else None
            self.allowance.begin_test()
            counted = self.allowance if settings.asks_best_there else UncountedCalls(self.allowance)
            arms |= run_async(self.measure(self.teacher_arms(), endpoint, counted))
        base = {BARE: plan.student_prompt, BEST: plan.base_prompt}
        missing = {name: prompt for name, prompt in base.items() if name not in arms}
        for thoughts in (True, False):  # a parser of thoughts would take all of a reply to a prompt without them
            part = {name: prompt for name, prompt in missing.items() if prompt.thinks == thoughts}
            if part:
                at = (settings.source.here, plan.student_model, self.folder.logs_dir / "base.log", self.say)
                with open_endpoint(*at, thoughts=thoughts) as (endpoint, context):
                    arms |= run_async(self.measure(part, endpoint, UncountedCalls(self.allowance)))
        return BaseAnswers(dataset, final, arms, context)

    def make_final(self, endpoint: Endpoint, final: FinalPlan) -> Dataset:
        """The dataset of the shipped student, in a folder of its own."""
        self.say("asking likewise for the student that is shipped, which is trained on all rows")
        self.folder.final_dir.mkdir(exist_ok=True)
        return self.teach(endpoint, final.teacher_prompt, final.rows, self.folder.final_dir)

    def teach(self, endpoint: Endpoint, prompt: Prompt, rows: Sequence[Example], folder: Path) -> Dataset:
        """Ask the teacher, and write the dataset into the folder. Raises `UserError` where too few rows are left."""
        if self.settings.teacher_model:
            prompt = run_async(self.port(endpoint, prompt, rows[0]))
        answers = run_async(self.ask(endpoint, prompt, rows))
        return self.make_dataset(answers, folder, prompt.id)

    def teacher_arms(self) -> dict[str, Prompt]:
        """The arms that the teacher's endpoint can answer."""
        plan, settings = self.plan, self.settings
        answers_bare = not plan.teacher_prompt.thinks  # else all of a reply to the bare prompt would count as thoughts
        if plan.same_weights and not settings.source.base_url and answers_bare:
            return {BEST: plan.best_prompt, BARE: plan.student_prompt}
        return {BEST: plan.best_prompt} if settings.teacher is None else {}

    def make_dataset(self, answers: Sequence[TeacherAnswer], folder: Path, prompt_id: str) -> Dataset:
        """Filter the answers and write the dataset. prompt_id: of the prompt that was asked."""
        plan, settings = self.plan, self.settings
        outputs = [field.name for field in plan.student_prompt.outputs]
        filtered = filter_answers(answers, plan.metric, outputs, settings.rules)
        rows, unreadable = to_training_rows(filtered.accepted, plan.student_prompt)
        rejected = [*filtered.rejected, *unreadable]
        self.say(
            f"{len(rows)} answers to train on, with scores of {filtered.min_score:g} or more; "
            f"rejected: {reasons_line(rejected)}"
        )
        sha256 = write_dataset(folder, rows, rejected)
        refuse_few_rows(rows, rejected, filtered)
        return Dataset(rows, rejected, filtered.min_score, sha256, prompt_id)

    async def port(self, endpoint: Endpoint, prompt: Prompt, row: Example) -> Prompt:
        """The prompt in the form which the teacher's own endpoint takes."""
        async with Client(endpoint, self.store, self.allowance) as client:
            ported = await port_prompt(prompt, self.plan.teacher_model, row.inputs, client)
        self.say(f"{self.plan.teacher_model.name} is asked {port_line(prompt, ported)}")
        return ported

    async def ask(self, endpoint: Endpoint, prompt: Prompt, rows: Sequence[Example]) -> list[TeacherAnswer]:
        settings = self.settings
        self.say(
            f"asking the teacher for {settings.k + 1} answers to each of {len(rows)} rows, demos excepted "
            "(usually 2-8 minutes on two cores; the time left is shown)"
        )
        pace = TeacherPace(self.allowance, self.say)
        with long_step(self.listener, "answers") as step:

            def report(done: int, total: int) -> None:
                pace(done, total)
                step.update(done, total)

            async with Client(endpoint, self.store, self.allowance) as client:
                client.pacer.on_rate = RateNotice(self.allowance, self.say, self.most_calls)
                return await ask_teacher(
                    prompt,
                    rows,
                    client,
                    k=settings.k,
                    temperature=settings.temperature,
                    report=report,
                )

    async def measure(self, prompts: Mapping[str, Prompt], endpoint: Endpoint, allowance: Allowance) -> dict[str, Arm]:
        """Each prompt's arm on the base model. allowance: counts the calls."""
        splits = self.plan.opened.splits
        metric, seed = self.plan.metric, self.settings.seed
        bench = ArmBench(splits.test, splits.dev, metric, self.store, allowance, seed)
        arms = {}
        for name, prompt in prompts.items():
            self.say(f"evaluating base + {name} prompt on {len(splits.test)} test rows ({TIME_OF_AN_ARM})")
            arms[name] = await bench.measure(prompt, endpoint)
        return arms
