"""Reads program.json, what `save` of a compiled DSPy program wrote: as the program again, or as one predictor's prompt.

Nothing in the file is executed; a pickled program is refused. A model that was saved with it is not taken over.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
from pydantic import BaseModel, ValidationError

from promptstill.errors import UserError
from promptstill.files import similar_file
from promptstill.prompt.artifact import MAX_BYTES
from promptstill.prompt.fields import REASONING
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.task import REASONING_TOKENS, Task
from promptstill.prompt.prompt import Prompt
from promptstill.strict_json import parse_json
from promptstill.task.load import did_you_mean
from promptstill.task.program import Program


class SavedField(BaseModel):
    prefix: str
    description: str


class SavedSignature(BaseModel):
    instructions: str
    fields: list[SavedField]


class SavedPredictor(BaseModel):
    """What DSPy saves of a predictor, as far as it is in the prompt."""

    signature: SavedSignature
    demos: list[dict[str, Any]]


def read_compiled(path: Path, task: Task, predictor: str | None = None) -> Prompt:
    """The prompt in the layout `dspy-chat`, unconstrained: what DSPy sends for the program as it stands.

    task: whose fields the predictor has. predictor: its name, where the program has several. Raises `UserError` for a
    file that DSPy did not write, and for a predictor that it does not have or that has other fields.
    """
    name, saved = pick_predictor(path, read_predictors(path), predictor)
    state, signature = saved.signature, to_signature(path, name, saved, task)
    demos = [{key: demo[key] for key in signature.fields if key in demo} for demo in saved.demos]
    demos = [demo for demo in demos if demo.keys() >= signature.fields.keys() - {REASONING}]
    tokens = task.max_tokens + REASONING_TOKENS * (len(signature.fields) > len(task.signature.fields))
    bare = replace(task, signature=signature, max_tokens=tokens, structured=False)
    return build_prompt(bare, "dspy-chat", state.instructions, demos, k=len(demos))


def load_predictor(path: Path, task: Task) -> Any:
    """The one predictor of the file as a `dspy.Predict`, for a recipe of a signature. Raises as `read_compiled`."""
    name, saved = pick_predictor(path, read_predictors(path))
    predictor = dspy.Predict(to_signature(path, name, saved, task))
    predictor.demos = saved.demos
    return predictor


def load_program(path: Path, program: Program) -> Any:
    """A copy of the recipe's program with what the file says of each of its predictors. Raises `UserError` for a file
    that DSPy did not write, and for one of a program with other predictors.
    """
    module, saved = program.module.deepcopy(), read_predictors(path)
    wanted = [name.removesuffix(".predict") for name, _ in module.named_predictors()]
    found = [name.removesuffix(".predict") or "self" for name in saved]
    if set(wanted) != set(found):
        raise UserError(
            f"{path} is of another program than {program.name}.",
            f"Its predictors are {', '.join(found)}; the recipe's program has {', '.join(wanted)}.",
            'Save it from the program of this recipe: program.save("program.json")',
        )
    for name, predictor in module.named_predictors():
        _, state = pick_predictor(path, saved, name)
        refuse_other_labels(path, name, state, predictor.signature)
        predictor.signature = predictor.signature.load_state(state.signature.model_dump())
        predictor.demos, predictor.lm = state.demos, None
    return module


def to_signature(path: Path, name: str, saved: SavedPredictor, task: Task) -> Any:
    """The task's signature as the file has it; with reasoning, where it is of a `dspy.ChainOfThought`."""
    signature = task.signature
    if len(saved.signature.fields) == len(signature.fields) + 1 and task.can_reason:
        signature = signature.prepend(REASONING, dspy.OutputField(desc="${reasoning}"), type_=str)
    refuse_other_labels(path, name, saved, signature)
    return signature.load_state(saved.signature.model_dump())


def refuse_other_labels(path: Path, name: str, saved: SavedPredictor, signature: Any) -> None:
    """Raises `UserError` where a saved predictor has other fields than the signature."""
    labels = [one.prefix for one in saved.signature.fields]
    known = [info.json_schema_extra["prefix"] for info in signature.fields.values()]
    if labels != known:
        raise UserError(
            f"The predictor {name} of {path} is of another signature.",
            f"Its fields are {' '.join(labels)} and the recipe has {' '.join(known)}",
            "Give a program that was compiled for this recipe's signature.",
        )


def read_predictors(path: Path) -> dict[str, Any]:
    """The saved predictors by name; "" is that of a file of one `dspy.Predict` alone. Raises `UserError`."""
    if not path.is_file():
        similar = similar_file(path, "*.json")
        hint = f"Did you mean {similar}?" if similar else 'Write it with: program.save("program.json")'
        raise UserError(f"{path} does not exist.", "", hint)
    if path.suffix != ".json" or path.stat().st_size > MAX_BYTES:
        why = "A pickled program runs code when it is read." if path.suffix == ".pkl" else "It is no JSON of that kind."
        raise UserError(f"{path} is not read.", why, 'Write it with: program.save("program.json"), 16 MiB at most')
    try:
        state = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON.", str(error), "Give what program.save wrote.") from error
    state = state if isinstance(state, dict) else {}
    found = {"": state} if "signature" in state else {key: one for key, one in state.items() if key != "metadata"}
    found = {key: one for key, one in found.items() if isinstance(one, dict) and "signature" in one}
    if not found:
        raise UserError(f"{path} holds no predictor of DSPy's.", "", 'Write it with: program.save("program.json")')
    return found


def is_compiled(value: object) -> bool:
    """Whether the value of a JSON file is the state of a DSPy program."""
    parts = [value, *value.values()] if isinstance(value, dict) else []
    return any(isinstance(part, dict) and "signature" in part for part in parts)


def pick_predictor(path: Path, saved: dict[str, Any], name: str | None = None) -> tuple[str, SavedPredictor]:
    """The predictor called `name`, or else the only one. Raises `UserError`."""
    short = {key.removesuffix(".predict"): one for key, one in saved.items()}
    wanted = next(iter(short)) if name is None or list(short) == [""] else name.removesuffix(".predict")
    if name is None and len(short) > 1:
        raise UserError(
            f"{path} is of a program of {len(short)} predictors.",
            f"They are {', '.join(short)}.",
            "Search one of them: Recipe.from_program(program, predictor=…), and measure the file by that recipe.",
        )
    if wanted not in short:
        raise UserError(f"{path} has no predictor {name}.", did_you_mean(wanted, short), "Name one of them.")
    try:
        return wanted or "self", SavedPredictor.model_validate(short[wanted])
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{path} is not what DSPy saves.", f"{wanted or 'self'}.{place}: {first['msg']}.", "Save it again."
        ) from error
