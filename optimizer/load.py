"""A recipe from a file: `recipes/qa.py` or `recipes/qa.py:name`, with `-p` parameters.

Each way in which that can fail has its own message. The module is registered in `sys.modules` before it runs, its
folder is on `sys.path` only while it loads (last, so that no recipe stands in for a module that others import), and the
working directory never changes.
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

from optimizer.errors import UserError
from optimizer.files import digest
from optimizer.recipe import MARK, Recipe, paths_from


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe with its lineage: the file's text as it was when it ran."""

    name: str
    path: Path
    source: str
    parameters: Mapping[str, Any]
    recipe: Recipe

    @property
    def sha256(self) -> str:
        return digest(self.source.encode())


def load(target: str, parameters: Mapping[str, str]) -> LoadedRecipe:
    """Load `FILE.py[:NAME]`. Raises `UserError`, one kind of message for each kind of mistake."""
    path, name = split_target(target)
    source = read_source(path)
    with on_path(path.parent):
        module = run_module(path, source)
        function = pick(module, name, path)
        arguments = coerce(function, parameters, path)
        with paths_from(path.parent, list(parameters.values())):
            made = call(function, arguments, path)
    return LoadedRecipe(function.__name__, path, source, arguments, made)


def split_target(target: str) -> tuple[Path, str | None]:
    """`qa.py:name` as path and name."""
    path, colon, name = target.rpartition(":")
    if colon and path.endswith(".py") and name:
        return Path(path), name
    return Path(target), None


def read_source(path: Path) -> str:
    """The recipe's text."""
    if path.suffix != ".py":
        raise UserError(
            f"{path} is not a Python file.",
            "A recipe is a .py file with a function marked @recipe.",
            "Start from a copy of recipes/qa.py.",
        )
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], 1)
        hint = f"Did you mean {path.parent / near[0]}?" if near else "Check the path."
        raise UserError(f"The recipe {path} does not exist.", "", hint)
    return path.read_text(encoding="utf-8")


@contextmanager
def on_path(folder: Path) -> Iterator[None]:
    """`folder` last on `sys.path`, for as long as the block runs: of `math.py` and the library's math, `import math`
    means the library's, also where DSPy says it."""
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
    """Execute the file as a module of its own name."""
    try:
        code = compile(source, str(path), "exec")
    except SyntaxError as error:
        where = f"line {error.lineno}: {(error.text or '').strip()}"
        raise UserError(f"The recipe {path} has a syntax error.", f"{error.msg}, {where}", "Mend that line.") from error
    name = f"promptstill_recipe_{path.stem}"
    module = ModuleType(name)
    module.__file__ = str(path.resolve())
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 (a recipe is the user's own code)
    except ImportError as error:
        raise UserError(
            f"The recipe {path} imports what is not installed: {error}.",
            own_frames(error, path),
            f"Install it beside promptstill: {sys.executable} -m pip install {error.name or 'the package'}",
        ) from error
    except Exception as error:
        raise UserError(
            f"The recipe {path} raised {type(error).__name__} while loading: {error}",
            own_frames(error, path),
            "Mend that line; loading a recipe should only define things.",
        ) from error
    return module


def pick(module: ModuleType, name: str | None, path: Path) -> Callable[..., Any]:
    """The one function marked @recipe, or the one of that name."""
    found = {
        key: value
        for key, value in vars(module).items()
        if inspect.isfunction(value) and getattr(value, MARK, False) and value.__module__ == module.__name__
    }
    if not found:
        raise UserError(
            f"The recipe {path} has no function marked @recipe.",
            "",
            "Write one that returns a Recipe: from optimizer import Recipe, recipe",
        )
    if name is None and len(found) > 1:
        choices = ", ".join(f"{path}:{key}" for key in found)
        raise UserError(f"{path} holds several recipes.", f"They are {choices}.", "Name one of them.")
    if name is not None and name not in found:
        raise UserError(f"{path} has no recipe {name}.", did_you_mean(name, found), "Name one of them.")
    return found[name] if name else next(iter(found.values()))


def coerce(function: Callable[..., Any], parameters: Mapping[str, str], path: Path) -> dict[str, Any]:
    """`-p` strings as values of the function's annotations."""
    known = inspect.signature(function).parameters
    hints = get_type_hints(function)
    values: dict[str, Any] = {}
    for key, text in parameters.items():
        if key not in known:
            raise UserError(f"{path} takes no parameter {key}.", did_you_mean(key, known), "Mend the -p option.")
        try:
            values[key] = TypeAdapter(hints.get(key, str)).validate_strings(text)
        except ValidationError as error:
            raise UserError(
                f"-p {key}={text} does not fit.",
                f"{path} wants {key}: {known[key].annotation}.",
                error.errors()[0]["msg"] + ".",
            ) from error
    return values


def call(function: Callable[..., Any], arguments: Mapping[str, Any], path: Path) -> Recipe:
    """Run the recipe's function; a `UserError` of its own passes through."""
    try:
        made = function(**arguments)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"The recipe {function.__name__} in {path} raised {type(error).__name__}: {error}",
            own_frames(error, path),
            "Mend that line.",
        ) from error
    if not isinstance(made, Recipe):
        raise UserError(
            f"The recipe {function.__name__} in {path} returned {type(made).__name__}, not a Recipe.",
            "",
            "End it with: return Recipe(signature=…, examples=…, metric=…)",
        )
    return made


def own_frames(error: BaseException, path: Path) -> str:
    """The last frames of a traceback that lie in the user's folder, one a line."""
    folder = path.parent.resolve()
    frames = [f for f in traceback.extract_tb(error.__traceback__) if folder in Path(f.filename).resolve().parents]
    return "\n".join(f"  {f.filename}:{f.lineno} in {f.name}: {f.line}" for f in frames[-3:])


def did_you_mean(word: str, known: Mapping[str, object]) -> str:
    """A hint that lists what there is, the likeliest first."""
    near = difflib.get_close_matches(word, list(known), 1)
    listed = f"There is {', '.join(known)}." if known else "There is none."
    return f"Did you mean {near[0]}? {listed}" if near else listed
