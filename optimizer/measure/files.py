"""The files that can be measured: each is opened as a `Subject`, by what it holds."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optimizer.measure.subject import Origin, ProgramSubject, PromptSubject, Subject
from optimizer.run.folder import RunFolder
from promptstill.errors import UserError
from promptstill.prompt.artifact import read_artifact
from promptstill.prompt.own.files import JSON
from promptstill.prompt.own.read import OwnPrompt
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.program import FROZEN_TOKENS
from promptstill.scoring.rows import read_test_rows
from promptstill.shell import command_line
from promptstill.strict_json import parse_json
from promptstill.task.compiled import is_compiled, load_predictor, load_program, read_compiled
from promptstill.task.open import OpenTask, read_own_of


def open_subjects(files: Sequence[str], opened: OpenTask, runs: Path) -> list[Subject]:
    """The files as subjects, or the recipe's own baseline without any. Raises `UserError`.

    runs: where run folders lie.
    """
    own = opened.recipe.own_prompt
    if not files and not (own and opened.own):
        raise UserError(
            "Which prompt?",
            "There is no file to measure, and the recipe names no baseline.",
            "Try: optimize RECIPE.py --measure mine.md best.json",
        )
    if own and opened.own and not files:
        return [PromptSubject(own.name, opened.own)]
    subjects = [open_file(Path(file), opened, runs) for file in dict.fromkeys(files)]
    names = Counter(Path(subject.label).name for subject in subjects)
    return [one.named(name) if names[name := Path(one.label).name] == 1 else one for one in subjects]


def open_file(path: Path, opened: OpenTask, runs: Path) -> Subject:
    """One file as a subject. Raises `UserError`."""
    own = opened.recipe.own_prompt
    if own and opened.own and Path(own.file).resolve() == path.resolve():
        return PromptSubject(str(path), opened.own)  # the recipe says how its answers are read
    value = peek(path) if path.suffix.lower() in JSON else []
    if path.suffix == ".pkl" or is_compiled(value):
        return open_compiled(path, opened)
    if isinstance(value, list) or "messages" in value:
        subject = PromptSubject(str(path), read_own_of(OwnPrompt(path), opened.task))
    elif value and "schema_version" not in value:
        raise UserError(
            f"{path} is nothing that can be measured.",
            "It is no best.json, holds no OpenAI messages, and is no state of a DSPy program.",
            'Give what optimize wrote, a prompt of your own, or what program.save("program.json") wrote.',
        )
    else:
        subject = open_artifact(path, opened, runs)
    refuse_other_fields(subject, opened)
    return subject


def open_compiled(path: Path, opened: OpenTask) -> ProgramSubject:
    """A compiled DSPy program: the recipe's own, or one predictor of its signature. Raises `UserError`."""
    if opened.program:
        return ProgramSubject(str(path), load_program(path, opened.program), FROZEN_TOKENS)
    limit = read_compiled(path, opened.task).decoding.max_tokens
    outputs = opened.task.signature.output_fields
    return ProgramSubject(str(path), load_predictor(path, opened.task), limit, outputs)


def open_artifact(path: Path, opened: OpenTask, runs: Path) -> PromptSubject:
    """A best.json, or a student's prompt.json. Raises `UserError`."""
    artifact = read_artifact(path)
    refuse_other_rows(path, artifact, opened)
    prompt = Prompt.from_artifact(artifact, str(path))
    rows = {row.id for row in opened.splits.test}
    engine = entry(artifact, "model")
    scores = find_scores(path, artifact, runs, rows)
    return PromptSubject(str(path), prompt, Origin(prompt.model, scores, engine if isinstance(engine, dict) else {}))


def find_scores(path: Path, artifact: Mapping[str, Any], runs: Path, rows: set[str]) -> dict[str, float] | None:
    """The scores of these test rows that the prompt of best.json had at the end of its search, from the run folder that
    best.json lies in or names; None without one."""
    run, arm = entry(artifact, "run"), entry(artifact, "shipped")
    folders = [path.parent, *([runs / run, path.parent / "runs" / run] if isinstance(run, str) else [])]
    for folder in map(RunFolder, folders):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # other files, or broken
            if folder.record["best"] == artifact["id"]:
                scores = {row.id: float(row.answers[arm].score) for row in read_test_rows(folder.test_path)}
                return scores if scores.keys() == rows else None
    return None


def peek(path: Path) -> list[Any] | dict[str, Any]:
    """The value of a JSON file; an empty object where it cannot be read, for `read_artifact` to say why."""
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, list | dict) else {}


def entry(value: object, *keys: str) -> Any:
    """What stands under the keys inside each other; None where a file from elsewhere has something else there."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def refuse_other_rows(path: Path, artifact: Mapping[str, Any], opened: OpenTask) -> None:
    """Raises `UserError` for a best.json that kept other rows for its test: it may have been chosen by these."""
    kept = entry(artifact, "splits", "sha256", "test")
    if kept in (None, opened.splits.digests()["test"]):
        return
    if entry(artifact, "splits", "folds"):
        as_text = command_line("optimize", "--show", path, "--as", "md")
        raise UserError(
            f"{path} is of a cross-validated run, whose prompt was searched on all of its rows.",
            "None of them is left to measure it on; scores.test in the file is of the way to search.",
            f"Measure the prompt's text on other rows: {as_text} > mine.md",
        )
    seed = entry(artifact, "splits", "seed")
    raise UserError(
        f"{path} was found with other test rows than {opened.recipe_file.path} has now.",
        "Its search may have seen these rows, so a score on them would mean nothing.",
        f"Measure it with its own rows, and the seed of their deal: --split-seed {seed}"
        if seed is not None
        else "Restore the data.",
    )


def refuse_other_fields(subject: PromptSubject, opened: OpenTask) -> None:
    """Raises `UserError` for a prompt of another task."""
    for kind in ("inputs", "outputs"):
        has, wanted = ([field.name for field in getattr(one, kind)] for one in (subject.prompt, opened.task))
        if has != wanted:
            raise UserError(
                f"{subject.label} is a prompt of another task.",
                f"Its {kind} are {', '.join(has)}; the recipe's are {', '.join(wanted)}.",
                "Measure it with its own recipe.",
            )


def split_seed_of(files: Sequence[str]) -> int:
    """The seed by which the rows of the first best.json among the files were dealt; 0 where there is none."""
    values = (peek(Path(file)) for file in files if Path(file).suffix.lower() in JSON)
    seeds = [entry(value, "splits", "seed") for value in values]
    return next((seed for seed in seeds if isinstance(seed, int)), 0)
