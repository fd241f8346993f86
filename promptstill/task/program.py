"""A DSPy program of several predictors, of which one is searched: its name in the program, and the program's rows.

Importing it loads no DSPy. What runs the program is promptstill/scoring/program.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from promptstill.errors import UserError
from promptstill.files import canonical_json, digest
from promptstill.prompt.prompt import Prompt
from promptstill.task.examples import Example, refuse_broken_text
from promptstill.task.load import did_you_mean
from promptstill.task.recipe import Recipe
from promptstill.task.records import to_rows
from promptstill.task.rows import Row


@dataclass(frozen=True, eq=False)
class Program:
    """A program, the name of the predictor that is searched, and the inputs of its `forward`."""

    module: Any
    predictor: str
    inputs: tuple[str, ...]

    @property
    def name(self) -> str:
        return type(self.module).__name__

    @cached_property
    def calls_per_row(self) -> int:
        """Calls of a model that a row takes, where each predictor is asked once."""
        return len(self.module.predictors())


def to_program(module: Any, predictor: str, rows: Sequence[Mapping[str, Any]]) -> Program:
    """The program of `Recipe.from_program`, checked. Raises `UserError`."""
    import dspy

    if not isinstance(module, dspy.Module):
        raise UserError(
            f"Recipe.from_program was given {type(module).__name__}, which is no dspy.Module.",
            "It searches one predictor of a program of several.",
            "For one signature or predictor alone write: Recipe(signature=…)",
        )
    name, _ = find_predictor(module, predictor)
    return Program(module, name, program_inputs(module, rows))


def names_of(module: Any) -> list[str]:
    """The names of a program's predictors."""
    return [name for name, _ in module.named_predictors()]


def find_predictor(module: Any, name: str) -> tuple[str, Any]:
    """A predictor with its full name: "answer" is also the `answer.predict` of a `ChainOfThought`. Raises `UserError`
    that lists the predictors.
    """
    predictors = dict(module.named_predictors())
    for full in (name, f"{name}.predict"):
        if full in predictors:
            return full, predictors[full]
    known = {one.removesuffix(".predict"): None for one in predictors}
    raise UserError(
        f"The program {type(module).__name__} has no predictor {name}.",
        did_you_mean(name, known),
        f"Name one of them: Recipe.from_program(program, predictor={next(iter(known), '…')!r}, …)",
    )


def several_error(program: str, names: Sequence[str]) -> UserError:
    """What to say to a program where a signature belongs."""
    short = [name.removesuffix(".predict") for name in names]
    return UserError(
        f"Recipe(signature=…) is the program {program}, which is no signature.",
        f"Its predictors: {', '.join(short) or 'none'}.",
        f"Search one of them: Recipe.from_program(program, predictor={short[0] if short else '…'!r}, "
        "examples=…, metric=…)",
    )


def program_inputs(module: Any, rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The inputs of a program: as a `dspy.Example` marks them, or the parameters of `forward` that rows have. Raises
    `UserError` where there is neither."""
    if rows and (marked := getattr(rows[0], "inputs", ())):
        return tuple(marked)
    parameters = inspect.signature(type(module).forward).parameters.values()
    named = [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)][1:]
    if found := tuple(name for name in named if rows and name in rows[0]):
        return found
    has = ", ".join(rows[0]) if rows else "none"
    raise UserError(
        f"No field of the rows is an input of the program {type(module).__name__}.",
        f"Its forward takes {', '.join(named) or 'no named input'}; the rows have {has}.",
        "Rename the fields, or give rows as dspy.Example(…).with_inputs(…).",
    )


class ProgramRow(Row):
    """A row of a program; `inputs` are those that a `dspy.Example` marks."""

    inputs: tuple[str, ...] = ()


def program_rows(examples: Any) -> list[Mapping[str, Any]]:
    """The rows, as `to_rows` has them, with the inputs that a `dspy.Example` marks. Raises `UserError`."""
    given = list(examples) if isinstance(examples, list | tuple) else examples
    rows = to_rows(given)
    return [marked_row(row, one) for row, one in zip(rows, given, strict=True)] if isinstance(given, list) else rows


def marked_row(row: Mapping[str, Any], example: Any) -> Mapping[str, Any]:
    """A row of a `dspy.Example` with the inputs that it marks; any other row as it is."""
    marked = getattr(example, "_input_keys", None)  # `inputs()` raises where there are none
    if not marked:
        return row
    made = ProgramRow(row)
    made.inputs = tuple(name for name in row if name in marked)
    return made


def program_example(row: Mapping[str, Any], number: int, recipe: Recipe, program: Program) -> Example:
    """A row of the whole program: its inputs, and all else as what its metric holds the output against. Raises
    `UserError`."""
    location = (row.location if isinstance(row, Row) else "") or f"row {number}"
    absent = [name for name in program.inputs if name not in row]
    if absent:
        raise UserError(
            f"{location}: no field {', '.join(absent)}.",
            f"The program {program.name} takes {', '.join(program.inputs)}; the row has {', '.join(row)}.",
            "Add it to the row.",
        )
    refuse_broken_text(row, location)
    inputs = {name: row[name] for name in program.inputs}
    gold = {name: value for name, value in row.items() if name not in inputs and name not in ("split", recipe.group)}
    try:
        key, size = digest([inputs, gold])[:16], len(canonical_json(inputs).encode())
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{location}: a value has no JSON form.", str(error), "Give texts, numbers and lists."
        ) from error
    if size > recipe.max_row_bytes:
        raise UserError(
            f"{location}: its inputs take {size:,} bytes, more than {recipe.max_row_bytes:,}.",
            "",
            "Shorten it, or raise Recipe(max_row_bytes=…).",
        )
    group = canonical_json(row.get(recipe.group) if recipe.group else inputs)
    return Example(key, location, inputs, gold, row, group, program)


def to_json(info: Any, value: Any) -> Any:
    """A field's value as a prompt holds it: text where the field is text, else as JSON has it."""
    from dspy.adapters.utils import format_field_value
    from pydantic import TypeAdapter

    if info.annotation is str and not isinstance(value, str):
        return format_field_value(info, value)  # as DSPy writes a list into a field of text
    return TypeAdapter(Any).dump_python(value, mode="json")


def place_prompt(program: Any, prompt: Prompt) -> Any:
    """See `Recipe.program_with`."""
    from promptstill.prompt.layouts.demos import read_demos

    if not isinstance(program, Program):
        raise UserError("This recipe is of no program.", "", "Take the predictor itself: prompt.to_dspy()")
    module = program.module.deepcopy()
    predictor = dict(module.named_predictors())[program.predictor]
    fields = [field.name for field in (*prompt.inputs, *prompt.outputs)]
    if fields != list(predictor.signature.fields):
        raise UserError(
            f"The prompt is not of the predictor {program.predictor}.",
            f"It has the fields {', '.join(fields)}; the predictor has {', '.join(predictor.signature.fields)}.",
            "Give the prompt that optimize found for this recipe.",
        )
    predictor.demos = read_demos(prompt)
    predictor.signature = predictor.signature.with_instructions(prompt.instruction)
    return module
