"""Reads program.json, what `save` of a compiled DSPy program wrote, as the prompt that one of its predictors sends.

Nothing in the file is executed; a pickled program is refused.
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
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.task import REASONING, REASONING_TOKENS, Task
from promptstill.prompt.prompt import Prompt
from promptstill.strict_json import parse_json
from promptstill.task.load import did_you_mean


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
    state = saved.signature
    reasoning = len(state.fields) == len(task.signature.fields) + 1 and task.can_reason
    signature, labels = task.signature, [one.prefix for one in state.fields]
    if reasoning:  # as `dspy.ChainOfThought` adds it
        signature = signature.prepend(REASONING, dspy.OutputField(desc="${reasoning}"), type_=str)
    known = [info.json_schema_extra["prefix"] for info in signature.fields.values()]
    if labels != known:
        raise UserError(
            f"The predictor {name} of {path} is of another signature.",
            f"Its fields are {' '.join(labels)} and the recipe has {' '.join(known)}",
            "Give a program that was compiled for this recipe's signature.",
        )
    demos = [{key: demo[key] for key in signature.fields if key in demo} for demo in saved.demos]
    demos = [demo for demo in demos if demo.keys() >= signature.fields.keys() - {REASONING}]
    tokens = task.max_tokens + REASONING_TOKENS * reasoning
    bare = replace(task, signature=signature.load_state(state.model_dump()), max_tokens=tokens, structured=False)
    return build_prompt(bare, "dspy-chat", state.instructions, demos, k=len(demos))


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


def pick_predictor(path: Path, saved: dict[str, Any], name: str | None) -> tuple[str, SavedPredictor]:
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
