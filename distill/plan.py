"""Everything before a model is asked: best.json and its recipe opened and held together, teacher and student named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill.adapter import check_hyper
from distill.leaks import firewall
from distill.settings import Settings
from distill.unlabelled import merge, read_unlabelled
from optimizer.errors import UserError
from optimizer.examples import Example
from optimizer.layouts import bare
from optimizer.metrics import Metric
from optimizer.models import Model, markers, resolve
from optimizer.prepare import Prepared, prepare
from optimizer.prompt import Prompt, read_best
from optimizer.settings import Settings as Run
from optimizer.shell import pasted

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is to be done. `rows` (train, then unlabelled) are for the teacher; `leaks` of them were dropped.

    `best` is the prompt to beat, `teacher` the one that answers: the same, unless --teacher named another.
    """

    artifact: dict[str, Any]
    prepared: Prepared
    best: Prompt
    teacher: Prompt
    teacher_model: Model
    student: Prompt
    student_model: Model
    rows: Sequence[Example]
    leaks: int

    @property
    def name(self) -> str:
        return self.prepared.name

    @property
    def metric(self) -> Metric:
        return self.prepared.loaded.recipe.metric

    @property
    def told(self) -> dict[str, Any]:
        """What the page says of it."""
        names = {"student": self.student_model.name, "teacher": self.teacher_model.name}
        return {"name": self.name, **names, "rows": len(self.rows)}

    @property
    def together(self) -> bool:
        """Whether one server can hold the prompt and the student."""
        model = self.artifact["model"]
        return (self.student_model.name, self.student_model.sha256) == (model["name"], model["sha256"])

    @property
    def teaches_itself(self) -> bool:
        """Whether teacher and student are of the same weights, so that one engine answers for both."""
        return self.teacher_model.sha256 is not None and self.teacher_model.sha256 == self.student_model.sha256


def plan(settings: Settings, say: Say) -> Plan:
    """Open and check all inputs. Raises `UserError`; no model is asked, but the embedded one may be converted."""
    path = Path(settings.from_prompt)
    artifact = read_best(path)
    best = Prompt.from_artifact(artifact, str(path))
    prepared = open_recipe(artifact, settings)
    student_model = resolve_student(settings.student or str(artifact["model"]["name"]), say)
    check_hyper(student_model, settings.hyper)
    teacher, teacher_model = open_teacher(settings, artifact, best, say)
    task = replace(prepared.task, model=student_model.name, structured=True, markers=markers(student_model))
    more = read_more(settings, prepared)
    rows, leaks = firewall([*prepared.splits.train, *more], prepared.splits, drop=settings.drop_leaks)
    student = bare(task, settings.layout)
    return Plan(artifact, prepared, best, teacher, teacher_model, student, student_model, rows, leaks)


def open_recipe(artifact: dict[str, Any], settings: Settings) -> Prepared:
    """The recipe that best.json came from, with the same rows. Raises `UserError` where either has changed."""
    recorded = artifact["recipe"]
    path = Path(settings.recipe or recorded["path"])
    if not path.is_file():
        raise UserError(
            f"The recipe {path} of {settings.from_prompt} is not there.",
            "best.json names it relative to the folder in which optimize ran.",
            "Run distill there, or say where it lies: --recipe FILE.py",
        )
    run = Run(
        recipe=f"{path}:{artifact['name']}",
        parameters=recorded["parameters"],
        model=artifact["model"]["name"],
        seed=artifact["search"]["seed"],
    )
    prepared = prepare(run)
    if prepared.loaded.sha256 != recorded["sha256"] or prepared.splits.digests() != artifact["splits"]["sha256"]:
        what = "recipe" if prepared.loaded.sha256 != recorded["sha256"] else "data"
        raise UserError(
            f"{settings.from_prompt} is of another {what} than {path} now has.",
            "Its test rows may be among the rows that would now be trained on.",
            f"Restore the {what}, or make a new best.json: {pasted('optimize', path)}",
        )
    return prepared


def resolve_student(name: str, say: Say) -> Model:
    """The model to train, its weights on this machine or on the hub."""
    try:
        return resolve(name, say)
    except UserError as error:
        raise UserError(
            f"{name} has no weights here to train.",
            f"{error.what} {error.why}",
            "Name the student's model: --student MODEL",
        ) from error


def open_teacher(settings: Settings, artifact: dict[str, Any], best: Prompt, say: Say) -> tuple[Prompt, Model]:
    """The prompt that teaches, and its model. Raises `UserError` where it is of another task."""
    teacher = artifact
    if settings.teacher:
        teacher = read_best(Path(settings.teacher))
    prompt = Prompt.from_artifact(teacher, settings.teacher or settings.from_prompt)
    if [f.name for f in prompt.inputs] != [f.name for f in best.inputs] or teacher["name"] != artifact["name"]:
        raise UserError(
            f"{settings.teacher} is a prompt of another recipe, {teacher['name']}.",
            f"{settings.from_prompt} is of {artifact['name']}.",
            "Give a best.json of the same recipe, optimized on the larger model.",
        )
    return prompt, settings.source.model(str(teacher["model"]["name"]), say)


def read_more(settings: Settings, prepared: Prepared) -> list[Example]:
    """The unlabelled rows: the recipe's own and --unlabelled's."""
    recipe, task = prepared.loaded.recipe, prepared.task
    given = settings.unlabelled
    more = read_unlabelled(Path(given), recipe, task.inputs, task.outputs) if given else []
    return merge(prepared.splits, more)[0]
