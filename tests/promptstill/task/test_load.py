"""Loading a recipe: each kind of mistake in its own words, and nothing else changes in the process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from promptstill import UserError
from promptstill.task.load import load_recipe
from tests.support.recipe_file import HEAD, RECIPE, make_rows, write_recipe

MISTAKES = [
    ("missing.py", None, "The recipe {path} does not exist."),
    ("ask.txt", "", "{path} is not a Python file."),
    ("ask.py", "def x(:\n", "The recipe {path} has a syntax error.\ninvalid syntax, line 1: def x(:\nMend that line."),
    ("ask.py", "import not_there\n", "The recipe {path} imports what is not installed: No module named 'not_there'."),
    ("ask.py", "1 / 0\n", "The recipe {path} raised ZeroDivisionError while loading: division by zero"),
    ("ask.py", "x = 1\n", "The recipe {path} has no function marked @recipe."),
    (
        "ask.py",
        RECIPE + "\n@recipe\ndef two(): ...\n",
        "{path} holds several recipes.\nThey are {path}:ask, {path}:two.",
    ),
]


def refusal(path: str, **parameters: str) -> UserError:
    with pytest.raises(UserError) as caught:
        load_recipe(path, parameters)
    return caught.value


@pytest.mark.parametrize(("name", "text", "message"), MISTAKES)
def test_each_mistake_has_its_own_message(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    error = refusal(str(path))
    assert str(error).startswith(message.replace("{path}", str(path)))
    assert error.exit_code == 2


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ask.py"
    path.write_bytes("x = 'é'\n".encode("latin-1"))
    error = refusal(str(path))
    assert error.what == f"{path} is not UTF-8 text." and error.do == "Save it as UTF-8."


def test_a_missing_package_is_to_be_installed(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, "from not_there.metrics import score\n")
    assert str(refusal(path)) == (
        f"The recipe {path} imports what is not installed: No module named 'not_there'.\n"
        f"  {path}:1 in <module>: from not_there.metrics import score\n"
        f"Install it beside promptstill: {sys.executable} -m pip install not_there"
    )


def test_a_recipe_of_an_earlier_version_is_told_what_to_import(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, RECIPE.replace("from promptstill import Recipe", "from optimizer import Recipe"))
    assert str(refusal(path)) == (
        f"The recipe {path} cannot be loaded: "
        "Recipe is in the package promptstill. Write: from promptstill import Recipe\n"
        f"  {path}:3 in <module>: from optimizer import Recipe, exact_match, read_jsonl, recipe\n"
        "Mend that line."
    )


@pytest.mark.parametrize("line", ["from optimizer.metrics import exact_match", "from promptstill import no_such_name"])
def test_what_an_installed_package_lacks_is_not_to_be_installed(line: str, tmp_path: Path) -> None:
    error = refusal(write_recipe(tmp_path, line + "\n"))
    assert "cannot be loaded" in error.what and line in error.why and error.do == "Mend that line."


def test_a_wrong_parameter_is_named_with_the_likeliest(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, rows=make_rows())
    assert str(refusal(path, dta="x")) == (
        f"{path} takes no parameter dta.\nDid you mean data? There is data, limit.\nMend the -p option."
    )
    assert "-p limit=many does not fit" in refusal(path, limit="many").what


def test_only_the_users_own_frames_are_shown(tmp_path: Path) -> None:
    text = HEAD + "\ndef deep():\n    return {}['gone']\n\n@recipe\ndef ask():\n    return deep()\n"
    error = refusal(write_recipe(tmp_path, text))
    assert error.why.count("\n") == 1 and "in deep" in error.why and "load.py" not in error.why


def test_default_paths_start_at_the_recipe_and_given_ones_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recipe(tmp_path, rows=make_rows(5))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "rows.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    monkeypatch.chdir(elsewhere)
    before = list(sys.path)
    assert len(load_recipe(path, {}).recipe.examples) == 5
    assert len(load_recipe(path, {"data": "rows.jsonl"}).recipe.examples) == 1
    assert sys.path == before and Path.cwd() == elsewhere


@pytest.mark.parametrize(("name", "own"), [("colorsys", "rgb_to_hsv"), ("rich", "print_json")])
def test_a_recipe_replaces_no_module(name: str, own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe may have the name of a module of Python or of a package: others who import that get theirs."""
    monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "beside.py").write_text("COUNT = 4\n")
    head = f"import {name}\nfrom beside import COUNT\nassert {name}.{own}\n"
    text = head + RECIPE.replace("limit: int = 3", "limit: int = COUNT")
    path = write_recipe(tmp_path, text, make_rows(5), f"{name}.py")
    assert len(load_recipe(path, {}).recipe.examples) == 5 and hasattr(sys.modules[name], own)
    sys.modules.pop("beside")


def test_the_lineage_names_file_text_and_parameters(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, rows=make_rows())
    lineage = load_recipe(path, {"limit": "4"}).lineage()
    assert (lineage["path"], lineage["parameters"], lineage["git_commit"]) == (path, {"limit": "4"}, None)
    assert len(lineage["sha256"]) == 64
