"""What a recipe is about: its signature, whatever form of DSPy the user gave it in. Loads DSPy where it is used.

A string is parsed as DSPy parses it. A `dspy.Predict` or `dspy.ChainOfThought` gives its signature, its instruction and
its demos. The reasoning of a `ChainOfThought` is no field of the task: rows have no label for it, and the search may
find that the task is done better without it; the baseline prompt reasons. Anything else is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptstill.errors import UserError
from promptstill.prompt.fields import REASONING
from promptstill.prompt.layouts.task import OwnPredictor
from promptstill.task.program import Program, find_predictor, names_of, several_error


@dataclass(frozen=True)
class Subject:
    """A signature, the predictor that it came from, and the program that this is a part of; each None where there is
    none."""

    signature: Any
    own: OwnPredictor | None = None
    program: Program | None = None


def read_subject(given: Any) -> Subject:
    """The subject of `Recipe(signature=given)`. Raises `UserError`."""
    import dspy

    if isinstance(given, str):
        return Subject(parse_signature(given))
    if isinstance(given, type) and issubclass(given, dspy.Signature):
        return Subject(given)
    if isinstance(given, Program):
        predictor = find_predictor(given.module, given.predictor)[1]
        own = OwnPredictor(whole_demos(predictor.demos, predictor.signature), in_program=True)
        return Subject(predictor.signature, own, given)
    if isinstance(given, dspy.Predict):
        return from_predictor(given)
    if type(given) is dspy.ChainOfThought:
        return from_predictor(given.predict, reasons=True)
    raise refusal(given)


def parse_signature(text: str) -> Any:
    """The signature that a string stands for. Raises `UserError`."""
    import dspy

    try:
        return dspy.Signature(text)
    except Exception as error:  # DSPy reads it as Python: errors of its own, of the parser and of imports
        raise UserError(
            f"The signature {text!r} cannot be read.",
            f"{type(error).__name__}: {error}",
            "Write, for instance: signature=\"question -> answer\", or \"text -> label: Literal['yes', 'no']\".",
        ) from error


def from_predictor(predictor: Any, *, reasons: bool = False) -> Subject:
    """A predictor's signature, with its demos; the reasoning of a `ChainOfThought` taken out of the signature."""
    signature = predictor.signature
    own = OwnPredictor(whole_demos(predictor.demos, signature), reasons)
    return Subject(signature.delete(REASONING) if reasons else signature, own)


def whole_demos(demos: Sequence[Any], signature: Any) -> tuple[Mapping[str, Any], ...]:
    """The demos that have a value for every field, as JSON has them; DSPy keeps what else there is beside them."""
    from promptstill.task.program import to_json

    fields = signature.fields
    whole = [demo for demo in demos if all(name in demo.keys() for name in fields)]  # noqa: SIM118 (a dspy.Example)
    return tuple({name: to_json(info, demo[name]) for name, info in fields.items()} for demo in whole)


def refusal(given: Any) -> UserError:
    """What to say to something that is no signature."""
    import dspy

    if isinstance(given, dspy.Module):
        return several_error(type(given).__name__, names_of(given))
    kind = given.__name__ if isinstance(given, type) else type(given).__name__
    return UserError(
        f"Recipe(signature=…) is {kind}, which is no signature.",
        "It takes a dspy.Signature class, a text such as 'a -> b', a dspy.Predict or a dspy.ChainOfThought.",
        "For a program of several predictors write: Recipe.from_program(program, predictor=…, examples=…, metric=…)",
    )
