"""`optimize --new FILE.py`: writes a first recipe, with comments, that passes `--check`. Overwrites nothing."""

from __future__ import annotations

import keyword
from pathlib import Path

from promptstill.errors import UserError
from promptstill.shell import command_line

SCAFFOLD = '''"""Tell whether a guest liked the stay. (Replace this line: say what your task is.)"""

from typing import Literal

import dspy

from promptstill import Recipe, exact_match, recipe


# The task: what comes in and what goes out. Its docstring is the first instruction; optimize looks for a better one.
class Task(dspy.Signature):
    """Tell whether the guest liked the stay."""

    review: str = dspy.InputField()
    liked: Literal["yes", "no", "partly"] = dspy.OutputField()


# The rows: one dict for each, with the fields above. These only show the form: replace them by 100 to 500 of your own.
# To read them from a file with one JSON object a line, write read_jsonl("rows.jsonl"), imported from promptstill.
ROWS = [
    {"review": "Quiet room, and the owner lent us her own bicycles.", "liked": "yes"},
    {"review": "We left after one night because of the mould.", "liked": "no"},
    {"review": "Lovely garden, but the bed was a plank.", "liked": "partly"},
    {"review": "Best breakfast in years. We've booked again.", "liked": "yes"},
    {"review": "Nobody at the desk, no key, no answer on the phone.", "liked": "no"},
    {"review": "The view makes up for the noise, nearly.", "liked": "partly"},
    {"review": "I'd come back for the sauna alone.", "liked": "yes"},
    {"review": "The photos must be from another house.", "liked": "no"},
    {"review": "Friendly people, cold soup.", "liked": "partly"},
    {"review": "Clean, warm and two minutes from the lake.", "liked": "yes"},
    {"review": "They charged us for a towel that was never there.", "liked": "no"},
    {"review": "Fine for a night, too small for a week.", "liked": "partly"},
]


# The metric: exact_match, token_f1 or contains of a field, or a function of your own:
#     def score(example, prediction) -> float:  # from 0 to 1, higher is better
#         return float(example.liked == prediction.liked)
@recipe
def NAME(model: str = "smollm2-135m") -> Recipe:
    return Recipe(signature=Task, examples=ROWS, metric=exact_match("liked"), model=model)
'''


def write_scaffold(path: Path) -> None:
    """Write the recipe to `path`; its function is named after the file. Raises `UserError`, also if it exists."""
    if path.suffix != ".py":
        correct = command_line("optimize", "--new", path.with_suffix(".py"))
        raise UserError(f"{path} is not a Python file.", "A recipe is a .py file.", f"Try: {correct}")
    is_name = path.stem.isidentifier() and not keyword.iskeyword(path.stem)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(SCAFFOLD.replace("NAME", path.stem if is_name else "task"))
    except FileExistsError as error:
        raise UserError(f"{path} exists already.", "It is left as it was.", "Choose another name.") from error
    except OSError as error:
        raise UserError(f"{path} could not be written.", str(error), "Choose another place.") from error
