"""Loads a recipe from a file: `recipes/qa.py` or `recipes/qa.py:name`, with `-p` parameters.

Each kind of mistake has its own message. The module is registered in `sys.modules` before it runs. Its folder is on
`sys.path` only while it loads, and last, so that no recipe replaces a module that others import. The working directory
never changes.
"""

from __future__ import annotations

import difflib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from promptstill.errors import UserError
from promptstill.files import digest, similar_file
from promptstill.provenance import git_commit
from promptstill.shell import command_line
from promptstill.task.recipe import RECIPE_ATTRIBUTE, Recipe
from promptstill.task.rows import paths_from
from promptstill.task.shipped import shipped_recipes


@dataclass(frozen=True)
class RecipeFile:
    """A recipe and where it came from; `source` is the file's text as it was when it ran."""

    name: str
    path: Path
    source: str
    parameters: Mapping[str, Any]
    recipe: Recipe

    @property
    def sha256(self) -> str:
        return digest(self.source.encode())

    def lineage(self) -> dict[str, Any]:
        """Where the recipe came from, as JSON."""
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "git_commit": git_commit(self.path.parent),
            "parameters": {key: str(value) for key, value in self.parameters.items()},
        }


def load_recipe(target: str, parameters: Mapping[str, str]) -> RecipeFile:
    """Load the recipe of `FILE.py[:NAME]`; parameters are texts, as `-p` takes them. Raises `UserError`."""
    path, name = split_target(target)
    source = read_source(path)
    with folder_on_path(path.parent):
        module = run_module(path, source)
        function = pick_recipe(module, name, path)
        arguments = coerce_parameters(function, parameters, path)
        with paths_from(path.parent, list(parameters.values())):
            recipe = call_recipe(function, arguments, path)
    return RecipeFile(function.__name__, path, source, arguments, recipe)


def split_target(target: str) -> tuple[Path, str | None]:
    """`qa.py:name` as path and name."""
    path, colon, name = target.rpartition(":")
    if colon and path.endswith(".py") and name:
        return Path(path), name
    return Path(target), None


def read_source(path: Path) -> str:
    """The text of the recipe's file. Raises `UserError`."""
    if path.suffix != ".py":
        raise UserError(
            f"{path} is not a Python file.",
            "A recipe is a .py file with a function marked @recipe.",
            f"Begin with a new one: {command_line('optimize', '--new', 'FILE.py')}",
        )
    if not path.is_file():
        similar = similar_file(path, "*.py")
        hint = f"Did you mean {similar}?" if similar else "Check the path."
        if path.stem in shipped_recipes():
            hint = f"promptstill brings one: {command_line('optimize', '--new', path, '--like', path.stem)}"
        raise UserError(f"The recipe {path} does not exist.", "", hint)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text.", str(error), "Save it as UTF-8.") from error


@contextmanager
def folder_on_path(folder: Path) -> Iterator[None]:
    """Inside, `folder` is last on `sys.path`: `import math` finds Python's own, also beside a recipe math.py."""
    entry = str(folder.resolve())
    if entry in sys.path:
        yield
        return
    sys.path.append(entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)


def run_module(path: Path, source: str) -> ModuleType:
    """Run the file as a module. Raises `UserError` for whatever goes wrong in it."""
    try:
        code = compile(source, str(path), "exec")
    except SyntaxError as error:
        line = f"line {error.lineno}: {(error.text or '').strip()}"
        raise UserError(f"The recipe {path} has a syntax error.", f"{error.msg}, {line}", "Mend that line.") from error
    name = f"promptstill_recipe_{path.stem}"
    module = ModuleType(name)
    module.__file__ = str(path.resolve())
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 (a recipe is the user's own code)
    except ImportError as error:
        raise import_failure(error, path) from error
    except Exception as error:
        raise UserError(
            f"The recipe {path} raised {type(error).__name__} while loading: {error}",
            user_frames(error, path),
            "Mend that line; loading a recipe should only define things.",
        ) from error
    return module


def import_failure(error: ImportError, path: Path) -> UserError:
    """A package that is not installed, or else what the import says itself."""
    package = (error.name or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and sys.modules.get(package) is None:
        return UserError(
            f"The recipe {path} imports what is not installed: {error}.",
            user_frames(error, path),
            f"Install it beside promptstill: {sys.executable} -m pip install {package or 'the package'}",
        )
    return UserError(f"The recipe {path} cannot be loaded: {error}", user_frames(error, path), "Mend that line.")


def pick_recipe(module: ModuleType, name: str | None, path: Path) -> Callable[..., Any]:
    """The file's one function marked @recipe, or the one called `name`. Raises `UserError`."""
    recipes = {
        key: value
        for key, value in vars(module).items()
        if inspect.isfunction(value) and getattr(value, RECIPE_ATTRIBUTE, False) and value.__module__ == module.__name__
    }
    if not recipes:
        raise UserError(
            f"The recipe {path} has no function marked @recipe.",
            "",
            "Write one that returns a Recipe: from promptstill import Recipe, recipe",
        )
    if name is None and len(recipes) > 1:
        choices = ", ".join(f"{path}:{key}" for key in recipes)
        raise UserError(f"{path} holds several recipes.", f"They are {choices}.", "Name one of them.")
    if name is not None and name not in recipes:
        raise UserError(f"{path} has no recipe {name}.", did_you_mean(name, recipes), "Name one of them.")
    return recipes[name] if name else next(iter(recipes.values()))


def coerce_parameters(function: Callable[..., Any], parameters: Mapping[str, str], path: Path) -> dict[str, Any]:
    """The texts of `-p` as values of the types that the function's annotations name. Raises `UserError`."""
    known = inspect.signature(function).parameters
    hints = get_type_hints(function)
    values: dict[str, Any] = {}
    for key, text in parameters.items():
        if key not in known:
            raise UserError(f"{path} takes no parameter {key}.", did_you_mean(key, known), "Mend the -p option.")
        try:
            values[key] = TypeAdapter(hints.get(key, str)).validate_strings(text)
        except ValidationError as error:
            declared = f"{path} declares {key}: {known[key].annotation}."
            raise UserError(f"-p {key}={text} does not fit.", declared, error.errors()[0]["msg"] + ".") from error
    return values


def call_recipe(function: Callable[..., Any], arguments: Mapping[str, Any], path: Path) -> Recipe:
    """Run the recipe's function. Raises `UserError`; one that the function raises itself is passed on."""
    try:
        recipe = function(**arguments)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"The recipe {function.__name__} in {path} raised {type(error).__name__}: {error}",
            user_frames(error, path),
            "Mend that line.",
        ) from error
    if not isinstance(recipe, Recipe):
        raise UserError(
            f"The recipe {function.__name__} in {path} returned {type(recipe).__name__}, not a Recipe.",
            "",
            "End it with: return Recipe(signature=…, examples=…, metric=…)",
        )
    return recipe


def user_frames(error: BaseException, path: Path) -> str:
    """The last three frames of the traceback that are in the recipe's folder, a line each."""
    folder = path.parent.resolve()
    frames = [f for f in traceback.extract_tb(error.__traceback__) if folder in Path(f.filename).resolve().parents]
    return "\n".join(f"  {f.filename}:{f.lineno} in {f.name}: {f.line}" for f in frames[-3:])


def did_you_mean(word: str, known: Mapping[str, object]) -> str:
    """A hint that lists what there is, after the most similar word."""
    near = difflib.get_close_matches(word, list(known), 1)
    listed = f"There is {', '.join(known)}." if known else "There is none."
    return f"Did you mean {near[0]}? {listed}" if near else listed
