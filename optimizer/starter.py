"""`optimize --new FILE.py`: a first recipe, commented, that passes `--check` as it stands."""

from __future__ import annotations

import keyword
from pathlib import Path

from optimizer.errors import UserError
from optimizer.shell import pasted

STARTER = '''"""Tell whether a guest liked the stay. (Say here in one line what your task is.)"""

from typing import Literal

import dspy

from optimizer import Recipe, exact_match, recipe


# The task: what comes in, what goes out. The docstring is the instruction to begin with; optimize looks for a better.
class Task(dspy.Signature):
    """Tell whether the guest liked the stay."""

    review: str = dspy.InputField()
    liked: Literal["yes", "no", "partly"] = dspy.OutputField()


# The rows: one dict for each, with the fields above. These few only show the form; some 100 to 500 of your own are
# wanted. From a file with one JSON object a line: read_jsonl("rows.jsonl"), imported from optimizer.
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
#     def score(example, prediction) -> float:     from 0 to 1, higher is better
#         return float(example.liked == prediction.liked)
@recipe
def NAME(model: str = "smollm2-135m") -> Recipe:
    return Recipe(signature=Task, examples=ROWS, metric=exact_match("liked"), model=model)
'''


def write_starter(path: Path) -> None:
    """Write the starter to `path`, its recipe named after the file. Raises `UserError`; overwrites nothing."""
    if path.suffix != ".py":
        again = pasted("optimize", "--new", path.with_suffix(".py"))
        raise UserError(f"{path} is not a Python file.", "A recipe is one.", f"Try: {again}")
    usable = path.stem.isidentifier() and not keyword.iskeyword(path.stem)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(STARTER.replace("NAME", path.stem if usable else "task"))
    except FileExistsError as error:
        raise UserError(f"{path} exists already.", "It is left as it was.", "Choose another name.") from error
    except OSError as error:
        raise UserError(f"{path} could not be written.", str(error), "Choose another place.") from error
