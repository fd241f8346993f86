"""Opens and checks all inputs before a model is asked: best.json, its recipe, the teacher and the student."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill.folds import FinalPlan, compared_prompt, compared_task, refuse_other_deal
from distill.settings import DistillSettings
from distill.teach.dataset import MIN_ROWS
from distill.teach.leakage import drop_leaks
from distill.teach.unlabelled import read_unlabelled, unlabelled_rows
from promptstill.dialect import VLLM
from promptstill.engine.arguments import check_engine
from promptstill.engine.markers import chat_markers
from promptstill.engine.models import Model, find_model
from promptstill.engine.shape import quantization, read_config
from promptstill.errors import UserError
from promptstill.events import Say
from promptstill.extras import require
from promptstill.prompt.artifact import read_best
from promptstill.prompt.layouts.bare import bare_prompt
from promptstill.prompt.prompt import Prompt
from promptstill.shell import command_line
from promptstill.task.examples import Example
from promptstill.task.judge import judges_at
from promptstill.task.open import OpenTask, open_task
from promptstill.task.recipe import Metric
from promptstill.text import plural

TRAINED_QUANTIZED = ("bitsandbytes",)  # whose layers PEFT adapts


@dataclass(frozen=True)
class DistillPlan:
    """The checked inputs of a distillation.

    best_prompt: the one to beat. It is the teacher's prompt too, unless --teacher named another; MODEL@URL is asked it
        in the form which that endpoint takes.
    rows: for the teacher to answer, train rows first, then unlabelled ones. leaks_dropped: number of rows left out.
    final: what the shipped student is trained on, where best.json is of a cross-validated run (distill/folds.py); else
        None, and the student that is compared is shipped.
    """

    artifact: dict[str, Any]
    opened: OpenTask
    best_prompt: Prompt
    teacher_prompt: Prompt
    teacher_model: Model
    student_prompt: Prompt
    student_model: Model
    rows: Sequence[Example]
    leaks_dropped: int
    final: FinalPlan | None = None

    @property
    def name(self) -> str:
        return self.opened.name

    @property
    def metric(self) -> Metric:
        return self.opened.recipe.metric

    def with_metric(self, metric: Metric) -> DistillPlan:
        """The plan with another metric."""
        recipe_file = self.opened.recipe_file
        recipe_file = replace(recipe_file, recipe=replace(recipe_file.recipe, metric=metric))
        return replace(self, opened=replace(self.opened, recipe_file=recipe_file))

    @property
    def page_facts(self) -> dict[str, Any]:
        """What the page says about the plan."""
        names = {"student": self.student_model.name, "teacher": self.teacher_model.name}
        return {"name": self.name, **names, "rows": len(self.rows)}

    @property
    def base_prompt(self) -> Prompt:
        """The prompt to beat, as the student's base model is asked it here."""
        if self.best_prompt.model == self.student_model.name:
            return self.best_prompt
        return self.best_prompt.asked_of(self.student_model.name, self.student_prompt.markers, VLLM)

    @property
    def one_server(self) -> bool:
        """Whether one server can serve both the prompt and the student: they have the same base model."""
        model = self.artifact["model"]
        return (self.student_model.name, self.student_model.sha256) == (model["name"], model["sha256"])

    @property
    def same_weights(self) -> bool:
        """Whether teacher and student have the same weights, so that one engine answers for both."""
        return self.teacher_model.sha256 is not None and self.teacher_model.sha256 == self.student_model.sha256


def plan_distillation(settings: DistillSettings, say: Say) -> DistillPlan:
    """Open and check all inputs. Raises `UserError`; no model is asked, but the embedded one may be converted."""
    require_packages()
    from distill.train.adapter import check_hyper

    refuse_parallel_search(settings)
    check_engine(settings.source.vllm_args, settings.source.gpu_memory)
    refuse_two_endpoints(settings)
    artifact = read_best(Path(settings.from_prompt))
    best = compared_prompt(artifact, settings.from_prompt)
    whole = open_recipe(artifact, settings)
    opened = compared_task(whole)
    student_model = find_student(settings.student or str(artifact["model"]["name"]), say)
    check_hyper(student_model, settings.hyper)
    teacher_artifact = open_teacher(settings, artifact, best)
    teacher = compared_prompt(teacher_artifact, settings.teacher_file or settings.from_prompt)
    teacher_model = settings.teacher_source.find_model(teacher_name(settings), say)
    task = replace(opened.task, model=student_model.name, structured=True, markers=chat_markers(student_model))
    more = read_unlabelled_rows(settings, opened)
    rows, leaks = drop_leaks([*opened.splits.train, *more], opened.splits, drop=settings.drop_leaks)
    refuse_few(rows, opened)
    student = bare_prompt(task, settings.layout)
    final = plan_final(settings, whole, teacher_artifact) if whole.splits.folds else None
    return DistillPlan(artifact, opened, best, teacher, teacher_model, student, student_model, rows, leaks, final)


def require_packages() -> None:
    """Raise `UserError` where this machine cannot train a student."""
    require("distill", ("distill",), "torch", "transformers", "peft", "accelerate", "safetensors")


def teacher_name(settings: DistillSettings) -> str:
    """The name of the model that teaches. Raises `UserError`."""
    file = settings.teacher_file or settings.from_prompt
    return settings.teacher_model or str(read_best(Path(file))["model"]["name"])


def plan_final(settings: DistillSettings, whole: OpenTask, teacher: dict[str, Any]) -> FinalPlan:
    """What the shipped student is trained on. whole: the task with all rows."""
    prompt = Prompt.from_artifact(teacher, settings.teacher_file or settings.from_prompt)
    labelled = whole.splits.train
    return FinalPlan(prompt, [*labelled, *read_unlabelled_rows(settings, whole)], len(labelled))


def refuse_few(rows: Sequence[Example], opened: OpenTask) -> None:
    """Refuse rows of which too few could be trained on, whatever the teacher answers. Raises `UserError`."""
    if len(rows) >= MIN_ROWS:
        return
    splits = opened.splits
    raise UserError(
        f"There are {plural(len(rows), 'row')} to train on; a student needs {MIN_ROWS}.",
        f"Besides, {plural(len(splits.dev), 'row')} are dev and {len(splits.test)} are test.",
        "Give rows without labels with --unlabelled ROWS.jsonl, or label more and search again.",
    )


def refuse_two_endpoints(settings: DistillSettings) -> None:
    """Refuse `--base-url` beside `--teacher MODEL@URL`: both are the teacher's. Raises `UserError`."""
    if settings.teacher_model and settings.source.base_url:
        raise UserError(
            f"--base-url and --teacher {settings.teacher} name two endpoints.",
            "Both are the teacher's; the student and the prompt to beat are asked on this machine.",
            "Leave --base-url out.",
        )


def refuse_parallel_search(settings: DistillSettings) -> None:
    """Refuse --search under `accelerate launch`, which sets WORLD_SIZE. Raises `UserError`."""
    if settings.search and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "--search runs in one process.",
            "Each of several processes would propose its own trials.",
            "Search without accelerate launch, or leave --search out.",
        )


def open_recipe(artifact: dict[str, Any], settings: DistillSettings) -> OpenTask:
    """The recipe that best.json came from, with the same rows; in folds, if they were. Raises `UserError` where either
    has changed, and where it was searched with a judge that is not named here."""
    if (judge := artifact.get("judge")) and not settings.judge:
        raise UserError(
            f"{settings.from_prompt} was searched with the judge {judge}.",
            "Without it the one that the recipe names would mark, which may be another.",
            f"Name it: --judge {judge}",
        )
    recorded = artifact["recipe"]
    path = Path(settings.recipe or recorded["path"])
    if not path.is_file():
        raise UserError(
            f"The recipe {path} of {settings.from_prompt} is not there.",
            "best.json names it relative to the folder in which optimize ran.",
            "Run distill in that folder, or name the recipe file: --recipe FILE.py",
        )
    model, dealt = artifact["model"]["name"], artifact["splits"]
    seed, folds = int(dealt["seed"]), int(dealt.get("folds", 0))
    target = f"{path}:{artifact['name']}"
    with judges_at(settings.judge_at):
        opened = open_task(target, recorded["parameters"], model=model, split_seed=seed, folds=folds)
    refuse_program(opened)
    if opened.recipe_file.sha256 != recorded["sha256"] or opened.splits.digests() != artifact["splits"]["sha256"]:
        what = "recipe" if opened.recipe_file.sha256 != recorded["sha256"] else "data"
        raise UserError(
            f"{settings.from_prompt} is of another {what} than {path} now has.",
            "Its test rows may be among the rows that would now be trained on.",
            f"Restore the {what}, or make a new best.json: {command_line('optimize', path)}",
        )
    return opened


def refuse_program(opened: OpenTask) -> None:
    """Refuse the recipe of a program: its rows are no rows of the predictor. Raises `UserError`."""
    if opened.program is not None:
        raise UserError(
            f"The recipe {opened.name} is of the program {opened.program.name}.",
            "distill trains on rows of one prompt, and a program's rows are of all its predictors together.",
            "Give the predictor rows of its own: Recipe(signature=…, examples=…)",
        )


def find_student(name: str, say: Say) -> Model:
    """The model to train, with weights on this machine. Raises `UserError` where it has none that can be trained."""
    try:
        model = find_model(name, say)
    except UserError as error:
        raise UserError(
            f"{name} has no weights here to train.",
            f"{error.what} {error.why}",
            "Name the student's model: --student MODEL",
        ) from error
    method = quantization(read_config(Path(model.path)))
    if method not in (None, *TRAINED_QUANTIZED):
        raise UserError(
            f"{name} is quantized ({method}): it can answer, but not be trained.",
            "An adapter is trained on weights in 16 or 32 bits.",
            "Name the same model unquantized: --student MODEL",
        )
    return model


def open_teacher(settings: DistillSettings, artifact: dict[str, Any], best: Prompt) -> dict[str, Any]:
    """The best.json of the teacher. Raises `UserError` where it is of another task, or of another deal into folds."""
    path = settings.teacher_file
    if not path:
        return artifact
    teacher = read_best(Path(path))
    prompt = Prompt.from_artifact(teacher, path)
    if [f.name for f in prompt.inputs] != [f.name for f in best.inputs] or teacher["name"] != artifact["name"]:
        raise UserError(
            f"{path} is a prompt of another recipe, {teacher['name']}.",
            f"{settings.from_prompt} is of {artifact['name']}.",
            "Give a best.json of the same recipe, optimized on the larger model.",
        )
    refuse_other_deal(teacher, path, artifact)
    return teacher


def read_unlabelled_rows(settings: DistillSettings, opened: OpenTask) -> list[Example]:
    """The unlabelled rows: the recipe's own and those of --unlabelled."""
    recipe, task = opened.recipe, opened.task
    path = settings.unlabelled
    more = read_unlabelled(Path(path), recipe, task.inputs, task.outputs) if path else []
    return unlabelled_rows(opened.splits, more)
