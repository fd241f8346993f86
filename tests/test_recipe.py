"""The recipe contract: eight ways to be wrong, each with its words, and the checks of rows before a call is paid."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from optimizer import UserError
from optimizer.examples import described
from optimizer.load import load
from optimizer.prepare import prepare
from optimizer.settings import Settings

HEAD = """
import dspy
from optimizer import Recipe, exact_match, read_jsonl, recipe

class Ask(dspy.Signature):
    "Answer."
    question: str = dspy.InputField()
    answer: str = dspy.OutputField()
"""
GOOD = (
    HEAD
    + """
@recipe
def ask(data: str = "rows.jsonl", limit: int = 3) -> Recipe:
    return Recipe(signature=Ask, examples=read_jsonl(data), metric=METRIC)
""".replace("METRIC", "exact_match('answer')")
)


def write(folder: Path, text: str, rows: list[Any] | None = None, name: str = "ask.py") -> str:
    (folder / name).write_text(text)
    if rows is not None:
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / name)


def rows(count: int = 20) -> list[dict[str, Any]]:
    return [{"question": f"q{i}", "answer": f"a{i}"} for i in range(count)]


MISTAKES = [
    ("missing.py", None, "The recipe {path} does not exist."),
    ("ask.txt", "", "{path} is not a Python file."),
    ("ask.py", "def x(:\n", "The recipe {path} has a syntax error.\ninvalid syntax, line 1: def x(:\nMend that line."),
    ("ask.py", "import not_there\n", "The recipe {path} imports what is not installed: No module named 'not_there'."),
    ("ask.py", "1 / 0\n", "The recipe {path} raised ZeroDivisionError while loading: division by zero"),
    ("ask.py", "x = 1\n", "The recipe {path} has no function marked @recipe."),
    ("ask.py", GOOD + "\n@recipe\ndef two(): ...\n", "{path} holds several recipes.\nThey are {path}:ask, {path}:two."),
]


@pytest.mark.parametrize(("name", "text", "message"), MISTAKES)
def test_each_mistake_has_its_own_message(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as caught:
        load(str(path), {})
    assert str(caught.value).startswith(message.replace("{path}", str(path)))
    assert caught.value.exit_code == 2


def test_a_bad_parameter_is_named_with_the_likeliest(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, rows())
    with pytest.raises(UserError) as caught:
        load(path, {"dta": "x"})
    assert str(caught.value) == (
        f"{path} takes no parameter dta.\nDid you mean data? There is data, limit.\nMend the -p option."
    )
    with pytest.raises(UserError, match="-p limit=many does not fit"):
        load(path, {"limit": "many"})


def test_only_the_users_own_frames_are_shown(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "\ndef deep():\n    return {}['gone']\n\n@recipe\ndef ask():\n    return deep()\n")
    with pytest.raises(UserError) as caught:
        load(path, {})
    assert caught.value.why.count("\n") == 1 and "in deep" in caught.value.why and "load.py" not in caught.value.why


def test_parameters_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, GOOD, rows(5))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "rows.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    monkeypatch.chdir(elsewhere)
    before = list(sys.path)
    assert len(load(path, {}).recipe.examples) == 5
    assert len(load(path, {"data": "rows.jsonl"}).recipe.examples) == 1
    assert sys.path == before and Path.cwd() == elsewhere


@pytest.mark.parametrize(("name", "own"), [("colorsys", "rgb_to_hsv"), ("rich", "print_json")])
def test_a_recipe_stands_in_for_no_module(name: str, own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe may be called as a module of Python or of a package: others who import that get theirs."""
    monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "beside.py").write_text("COUNT = 4\n")
    head = f"import {name}\nfrom beside import COUNT\nassert {name}.{own}\n"
    path = write(tmp_path, head + GOOD.replace("limit: int = 3", "limit: int = COUNT"), rows(5), f"{name}.py")
    assert len(load(path, {}).recipe.examples) == 5 and hasattr(sys.modules[name], own)
    sys.modules.pop("beside")


def refused(tmp_path: Path, data: list[Any], text: str = GOOD) -> str:
    with pytest.raises(UserError) as caught:
        prepare(Settings(recipe=write(tmp_path, text, data)))
    return str(caught.value).replace(str(tmp_path), "")


BAD_ROWS = [
    ([], "The data file /rows.jsonl is empty."),
    (rows(1), "The recipe has 1 row."),
    ([*rows(), 7], "/rows.jsonl, line 21: not a JSON object."),
    ([*rows(), {"question": "q"}, {"answer": "a"}], "/rows.jsonl, line 22: no field question."),
    ([*rows(), {"question": "half \ud800", "answer": "a"}], "/rows.jsonl, line 21: its text is broken."),
    ([*rows(), {"question": 3, "answer": "a"}], "/rows.jsonl, line 21: question is int, not a string."),
    ([*rows(), {"question": "x" * 100_000, "answer": "a"}], "/rows.jsonl, line 21: its inputs take 100,015 bytes"),
    ([{**row, "split": "train"} for row in rows()], "There are no dev rows."),
    (
        [rows(1)[0]] * 3,
        "There are no dev rows.\nThe labelled rows fall into train 1, dev 0, test 0, and 2 duplicate",
    ),
    (
        [*[{**row, "split": "dev"} for row in rows()], {"question": "z", "answer": "z"}],
        "/rows.jsonl, line 21: split is",
    ),
    (
        [
            {"question": "q", "answer": "a", "split": "test"},
            {"question": "q", "answer": "b", "split": "dev"},
            *[{**row, "split": "train"} for row in rows()],
        ],
        "/rows.jsonl, line 1 (test) and /rows.jsonl, line 2 (dev) have the same inputs.",
    ),
]


@pytest.mark.parametrize(("data", "message"), BAD_ROWS)
def test_bad_rows_are_refused_by_line(data: list[Any], message: str, tmp_path: Path) -> None:
    assert refused(tmp_path, data).startswith(message)


@pytest.mark.parametrize(
    ("body", "message"), [("1 / 0", "raised ZeroDivisionError on"), ("7", "returned 7 on /rows.jsonl, line")]
)
def test_a_bad_metric_is_found_before_a_call(body: str, message: str, tmp_path: Path) -> None:
    text = HEAD + f"\ndef score(example, prediction):\n    return {body}\n" + GOOD.removeprefix(HEAD)
    assert message in refused(tmp_path, rows(), text.replace("exact_match('answer')", "score"))


def test_splits_are_seeded_disjoint_and_keep_groups(tmp_path: Path) -> None:
    grouped = GOOD.replace("Recipe(signature", "Recipe(group='topic', signature")
    data = [{**row, "topic": f"t{i // 4}"} for i, row in enumerate(rows(80))]
    path = write(tmp_path, grouped, [*data, data[0]])
    first, again = (prepare(Settings(recipe=path)).splits for _ in range(2))
    assert first.digests() == again.digests() and first.duplicates == 1
    topics = [{ex.row["topic"] for ex in part} for part in (first.train, first.dev, first.test)]
    assert not (topics[0] & topics[1] or topics[0] & topics[2] or topics[1] & topics[2])
    assert [len(part) for part in (first.train, first.dev, first.test)] == [40, 16, 24]
    other = prepare(Settings(recipe=path, seed=1)).splits
    assert other.digests() != first.digests()


def test_split_sizes_may_be_counts(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("Recipe(signature", "Recipe(split=(10, 4, 6), signature"), rows(50))
    splits = prepare(Settings(recipe=path)).splits
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (10, 4, 6)


def test_counts_that_rows_overrule_are_told_of(tmp_path: Path) -> None:
    named = [{**row, "split": ("train", "dev", "test")[i % 3]} for i, row in enumerate(rows(50))]
    told = {}
    for split in ("", "split=(10, 4, 6), "):
        made = prepare(Settings(recipe=write(tmp_path, GOOD.replace("Recipe(", f"Recipe({split}"), named)))
        told[split] = [line for line in described(made.splits, made.loaded.recipe) if "split" in line]
    assert told == {
        "": [],
        "split=(10, 4, 6), ": ["Recipe(split=(10, 4, 6)) is not used: the rows name their own split"],
    }
