"""A whole distillation: the plan made, its folder made or found, the steps done, the result written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from distill.artifact import write_result
from distill.budget import limit_line
from distill.folder import DistilledFolder
from distill.pipeline import Steps
from distill.plan import DistillPlan, plan_distillation, require_packages, teacher_name
from distill.settings import DistillSettings
from distill.verdict.verdict import DistillVerdict
from promptstill.command.exits import run_async
from promptstill.endpoint.allowance import LimitReached
from promptstill.endpoint.hosted import is_hosted
from promptstill.errors import UserError
from promptstill.events import Listener, Say, teller
from promptstill.files import read_json
from promptstill.shell import command_line
from promptstill.task.metrics.apply import refuse_unpriced_judge
from promptstill.text import plural


@dataclass(frozen=True)
class FinishedDistillation:
    """What a distillation came to. `best_path`: the best.json that the same server can serve, None where none can."""

    folder: DistilledFolder
    settings: DistillSettings
    verdict: DistillVerdict
    best_path: Path | None


def run_distillation(
    settings: DistillSettings | None, resume: Path | None, output: Path, listener: Listener
) -> FinishedDistillation:
    """See `distill.distill`."""
    say = teller(listener)
    if resume is not None:
        folder, begun = DistilledFolder.open(resume)
        settings = settings or begun
        if not settings.is_but_for_limits(begun):  # given anew, they lack a provider's address
            settings.at_provider(teacher_name(settings)).refuse_changes(begun)
        if folder.finished:  # nothing is measured again: the machine may be in another state
            say(f"{folder.path} is finished; this is its result.")
            verdict = DistillVerdict.from_json(read_json(folder.verdict_path))
            return FinishedDistillation(folder, settings, verdict, None)
    elif settings is not None:
        DistilledFolder.refuse_occupied(output)
    else:
        raise UserError("Which prompt?", "There are neither settings nor a folder to go on with.", "Give one of them.")
    require_packages()
    settings = settings.at_provider(teacher_name(settings))
    plan = plan_distillation(settings, say)
    refuse_unpriced_judge(settings.limits, plan.metric)
    refuse_unserved_roles(settings, plan, say)
    if embedder := settings.embedder:
        run_async(embedder.try_out())
    if resume is None:
        folder = DistilledFolder.create(output, settings)
    else:
        folder.write_settings(settings)
    say(f"{len(plan.rows)} rows for the teacher, {plan.leaks_dropped} dropped as leaks; folder {folder.path}")
    say(steps_line(settings.gold_arm))
    if plan.final:
        say(folds_line(plan, plan.final.labelled))
    try:
        result = Steps(plan, settings, folder, listener).run()
    except LimitReached as reached:
        say(f"{reached} is reached: what was answered is stored")
        say(limit_line(folder.path, reached))
        raise
    except BaseException:
        say(f"to go on: {command_line('distill', '--resume', folder.path)}")
        raise
    write_result(folder, result)
    best_path = Path(settings.from_prompt) if plan.one_server else None
    return FinishedDistillation(folder, settings, result.verdict, best_path)


def refuse_unserved_roles(settings: DistillSettings, plan: DistillPlan, say: Say) -> None:
    """Ask the endpoints of `--teacher MODEL@URL` and `--judge MODEL@URL` for their models, and look for a provider's
    key. Raises as optimize does."""
    elsewhere = settings.teacher_model or is_hosted(settings.source.base_url or "")
    if elsewhere or settings.judge:
        from optimizer.launch import refuse_unserved, refuse_unserved_judge  # they load the search

        refuse_unserved_judge(settings.judge_at, say)
        if elsewhere:
            refuse_unserved(settings.teacher_source, plan.teacher_model, say, "--teacher")


def steps_line(gold_arm: bool) -> str:
    """The steps of a distillation, and how long they take together."""
    second = ", trains another on gold labels" if gold_arm else ""
    return (
        f"distill now asks the teacher, trains a student{second}, and evaluates on test "
        "(usually 10-30 minutes in all on two cores)"
    )


def folds_line(plan: DistillPlan, labelled: int) -> str:
    """What is compared of a cross-validated run, and what is shipped."""
    rows = len(plan.opened.splits.test)
    return (
        f"cross-validated: prompt and student without the first fold are compared on its {plural(rows, 'row')}; "
        f"the student that is shipped is trained on all {labelled} labelled rows"
    )
