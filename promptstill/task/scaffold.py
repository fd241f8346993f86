"""`optimize --new FILE.py`: writes a first recipe, with comments, that passes `--check`. Overwrites nothing.

With `--from ROWS` it is a recipe for these rows, with `--like NAME` a copy of one that comes with promptstill.
"""

from __future__ import annotations

import keyword
import os
from pathlib import Path

from promptstill.errors import UserError
from promptstill.shell import command_line
from promptstill.task.draft.columns import find_columns
from promptstill.task.draft.proposal import describe_proposal, propose
from promptstill.task.draft.recipe_text import recipe_text
from promptstill.task.rows import read_jsonl
from promptstill.task.shipped import data_files, find_shipped, subject
from promptstill.task.tables import read_csv
from promptstill.text import plural

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
# To read them from a file, write read_csv("rows.csv") or read_jsonl("rows.jsonl"), imported from promptstill.
# For a recipe that fits such a file, run: optimize --new FILE.py --from rows.csv
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


# The metric: exact_match, token_f1, contains, set_f1 or macro_f1 of a field, or a function of your own:
#     def score(example, prediction) -> float:  # from 0 to 1, higher is better
#         return float(example.liked == prediction.liked)
@recipe
def NAME(model: str = "smollm2-135m") -> Recipe:
    return Recipe(signature=Task, examples=ROWS, metric=exact_match("liked"), model=model)
'''


def write_scaffold(path: Path, data: Path | None = None) -> list[str]:
    """Write the recipe to `path`; its function is named after the file. Raises `UserError`, also if it exists.

    data: rows for which a task is proposed. Returns what was found in them, a line each.
    """
    refuse_other_suffix(path)
    refuse_existing(path)
    name = path.stem if path.stem.isidentifier() and not keyword.iskeyword(path.stem) else "task"
    text, findings = draft_recipe(path, name, data) if data else (SCAFFOLD.replace("NAME", name), [])
    write_new(path, text.encode())
    return findings


def write_shipped(path: Path, name: str) -> list[str]:
    """Write a copy of the recipe `name` to `path`, and what it reads into `data` beside it; a line for each file.

    Raises `UserError`, also where one of these files exists. Data that is there already, byte for byte, is kept.
    """
    refuse_other_suffix(path)
    recipe = find_shipped(name)
    data = {path.parent / "data" / file.name: file.read_bytes() for file in data_files(recipe)}
    there = [file for file, content in data.items() if file.is_file() and file.read_bytes() == content]
    missing = [file for file in data if file not in there]
    for file in (path, *missing):
        refuse_existing(file)
    for file in missing:
        write_new(file, data[file])
    write_new(path, recipe.read_bytes())
    verbs = {file: "is there already" if file in there else "is written" for file in data}
    lines = [f"{file} {verbs[file]}: {plural(len(content.splitlines()), 'row')}" for file, content in data.items()]
    return [f"{path} is written, a copy of the recipe {name}: {subject(recipe)}", *lines]


def refuse_other_suffix(path: Path) -> None:
    """Raises `UserError` where this is not the name of a Python file."""
    if path.suffix != ".py":
        correct = command_line("optimize", "--new", path.with_suffix(".py"))
        raise UserError(f"{path} is not a Python file.", "A recipe is a .py file.", f"Try: {correct}")


def refuse_existing(path: Path) -> None:
    """Raises `UserError` where the file exists."""
    if path.exists():
        raise UserError(f"{path} exists already.", "It is left as it was.", "Choose another name or folder.")


def write_new(path: Path, content: bytes) -> None:
    """Write a file that does not exist yet. Raises `UserError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        refuse_existing(path)
    except OSError as error:
        raise UserError(f"{path} could not be written.", str(error), "Choose another place.") from error


def draft_recipe(path: Path, name: str, data: Path) -> tuple[str, list[str]]:
    """The text of a recipe for the rows of a file, and what was found in them. Raises `UserError`."""
    kind = data.suffix.casefold()
    if kind not in (".csv", ".tsv", ".jsonl"):
        raise UserError(
            f"{data} is neither .csv nor .jsonl.", "", "Save the rows as CSV, or as one JSON object a line."
        )
    rows = read_jsonl(data) if kind == ".jsonl" else read_csv(data)
    proposal = propose(find_columns(rows), str(data))
    findings = list(describe_proposal(proposal, str(data)))
    return recipe_text(proposal, name, relative_path(data, path.parent), findings), findings


def relative_path(path: Path, folder: Path) -> str:
    """The path from the folder, with slashes; as a whole where no way leads there (another drive of Windows)."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return path.resolve().as_posix()
