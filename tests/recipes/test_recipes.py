"""The recipes of the source tree: each loads, is short and described; rows are unique, balanced and leak nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from datetime import date
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from promptstill import UserError
from promptstill.prompt.nearest import near_duplicate, words
from promptstill.task.leakage import find_leaks
from promptstill.task.load import load_recipe
from promptstill.task.open import OpenTask, open_task
from tests.support import ROOT

FOLDER = ROOT / "recipes"
PARAMETERS = {"judge": {"judge_url": "http://127.0.0.1:1/v1", "judge_model": "m"}}
OWN = ("sentiment", "qa", "tickets", "extract", "math", "judge")
SENTIMENTS = ("positive", "negative")
FILES = sorted(path.stem for path in FOLDER.glob("*.py"))


@cache
def open_recipe(name: str) -> OpenTask:
    return open_task(str(FOLDER / f"{name}.py"), parameters=PARAMETERS.get(name, {}))


def rows(name: str) -> list[Any]:
    return list(open_recipe(name).recipe.examples)


def test_no_recipe_is_left_out() -> None:
    assert sorted([*OWN, "hub"]) == FILES


@pytest.mark.parametrize("name", OWN)
def test_each_is_in_order_and_leaks_nothing(name: str) -> None:
    splits = open_recipe(name).splits
    assert min(len(splits.train), len(splits.dev), len(splits.test)) >= 40 and not splits.duplicates
    assert find_leaks(splits.train, [*splits.dev, *splits.test]) == []
    assert find_leaks(splits.dev, splits.test) == []


@pytest.mark.parametrize("name", FILES)
def test_each_is_short_and_has_its_line(name: str) -> None:
    assert len((FOLDER / f"{name}.py").read_text().splitlines()) < 60
    line = next(line for line in (FOLDER / "README.md").read_text().splitlines() if line.startswith(f"| `{name}.py` |"))
    size = 500 if name == "hub" else len(rows(name))
    assert str(size) in re.findall(r"\d+", line.split("|")[3])


def test_reviews_are_many_and_balanced() -> None:
    data = rows("sentiment")
    assert len(data) >= 600 and Counter(row["sentiment"] for row in data) == dict.fromkeys(SENTIMENTS, len(data) // 2)
    assert all(8 <= len(row["review"].split()) <= 45 for row in data)
    naming = sum(bool(set(SENTIMENTS) & set(words(row["review"]))) for row in data)
    assert naming == 0


def test_tickets_are_many_and_balanced() -> None:
    data = rows("tickets")
    teams = Counter(row["team"] for row in data)
    assert len(data) >= 400 and len(teams) >= 8 and max(teams.values()) == min(teams.values())
    assert {(row["team"], row["split"]) for row in data} == {(t, s) for t in teams for s in ("train", "dev", "test")}
    lengths = sorted(len(words(row["ticket"])) for row in data)
    assert lengths[0] <= 3 and lengths[-1] >= 60


def test_no_ticket_names_its_team() -> None:
    """Looking for the labels' words would route next to no ticket."""
    naming = sum(row["team"] in words(row["ticket"]) for row in rows("tickets"))
    assert naming <= 0.01 * len(rows("tickets"))


@pytest.mark.parametrize(
    ("name", "field"), [("sentiment", "review"), ("tickets", "ticket"), ("extract", "text"), ("math", "problem")]
)
def test_no_two_rows_are_nearly_the_same(name: str, field: str) -> None:
    texts = [words(row[field]) for row in rows(name) if len(words(row[field])) > 3]
    if name == "math":  # stories repeat, but never with the same numbers
        assert len({tuple(text) for text in texts}) == len(texts)
        return
    assert [pair for pair in combinations(texts, 2) if near_duplicate(*pair)] == []


def test_bills_contain_what_is_asked_for() -> None:
    data = rows("extract")
    assert len(data) >= 200 and len({row["vendor"] for row in data}) == len(data)
    assert 0.1 < sum(row["due"] is None for row in data) / len(data) < 0.3
    with_total = 0
    for row in data:
        assert row["vendor"].casefold() in row["text"].casefold()
        assert row["due"] is None or date.fromisoformat(row["due"]) >= date.fromisoformat(row["issued"])
        with_total += row["total"] in numbers(row["text"])
    assert with_total >= 0.95 * len(data)  # the others are in words, or must be summed up


def numbers(text: str) -> list[float]:
    """The amounts in a text, with any separator of thousands."""
    plain = re.sub(r"(?<=\d)[ ,.'](?=\d{3}\b)", "", text).replace(",", ".")
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", plain)]


def test_fields_of_a_bill_count_alike() -> None:
    metric = open_recipe("extract").recipe.metric
    row = next(row for row in rows("extract") if row["due"] is None and row["vendor"].startswith("Moonlight"))
    assert metric(row, row) == 1.0
    assert metric(row, {**row, "due": row["issued"]}) == pytest.approx(0.8)
    half: Any = metric(row, {**row, "vendor": row["vendor"].split()[0], "total": row["total"] + 1})
    assert 0.6 < half < 0.8


def test_word_problems_are_seeded() -> None:
    path = str(FOLDER / "math.py")
    again, other = (load_recipe(path, parameters).recipe.examples for parameters in ({}, {"seed": "1", "each": "2"}))
    assert list(again) == rows("math") and len(other) == len(again) // 4 and other[0] != again[0]
    for row in again:
        assert "{" not in row["problem"]
        assert evaluate_steps(row["reasoning"]) == row["answer"] > 0


def evaluate_steps(reasoning: str) -> int:
    """The result of a calculation, each step of it checked."""
    result = 0
    for left, sign, right, outcome in re.findall(r"(\d+) ([-+*/]) (\d+) = (\d+)\.", reasoning):
        a, b, result = int(left), int(right), int(outcome)
        assert {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[sign] == result
    return result


def test_a_fresh_process_loads_math_whole() -> None:
    argv = [sys.executable, "-m", "optimizer", str(FOLDER / "math.py"), "--check"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=FOLDER.parent, timeout=120, check=False)
    assert done.returncode == 0 and "the recipe math is in order\n" in done.stdout, done.stderr


FAKE_DATASETS = """
class Labels:
    names = ["bad", "good"]

class Table(list):
    column_names = ["text", "mood", "answers"]
    features = {"text": None, "mood": Labels, "answers": None}
    def shuffle(self, seed):
        return self
    def select(self, indices):
        return Table([self[i] for i in indices])

def load_dataset(name, config, split):
    if name == "far/away":
        raise ConnectionError("Couldn't reach 'far/away' on the Hub")
    assert (config, split) == ("plain", "train")
    rows = [{"text": f"row {i}", "mood": i % 2, "answers": {"text": [f"{i}", "so"]}} for i in range(30)]
    return Table([*rows, {"text": "unlabelled", "mood": -1, "answers": {"text": []}}])
"""


def hub(**parameters: str) -> OpenTask:
    return open_task(str(FOLDER / "hub.py"), parameters=parameters)


def test_hub_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Which data set"):
        hub()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError) as caught:
        hub(dataset="a/b")
    assert caught.value.what == "This recipe needs the package datasets."
    assert "pip install datasets" in caught.value.do and "read_jsonl" in caught.value.do
    install_fake_datasets(monkeypatch, tmp_path)
    with pytest.raises(UserError) as caught:
        hub(dataset="far/away")
    assert str(caught.value).startswith("far/away did not load.\nConnectionError: Couldn't reach 'far/away' on the Hub")
    assert "read_jsonl" in caught.value.do
    with pytest.raises(UserError, match="a/b has no field question"):
        hub(dataset="a/b", config="plain", output="mood")


def install_fake_datasets(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "datasets.py").write_text(FAKE_DATASETS)
    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    monkeypatch.syspath_prepend(str(folder))


def test_hub_reads_labels_and_inner_fields(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install_fake_datasets(monkeypatch, tmp_path)
    labelled = hub(dataset="a/b", config="plain", inputs="text", output="mood", rows="20")
    assert labelled.task.outputs[0].choices == ["bad", "good"] and len(labelled.recipe.examples) == 20
    assert labelled.recipe.examples[1] == {"text": "row 1", "answer": "good", "answers": ["good"]}
    free = hub(dataset="a/b", config="plain", inputs="text", output="answers.text", instruction="Count.")
    assert free.recipe.examples[3] == {"text": "row 3", "answer": "3", "answers": ["3", "so"]}
    assert free.task.outputs[0].is_text and free.recipe.metric(free.recipe.examples[3], {"answer": "so"}) == 1.0
    assert free.task.signature.instructions == "Count." and len(free.recipe.examples) == 30
    sys.modules.pop("datasets", None)


def test_judge_wants_an_address() -> None:
    for parameters, what in (
        ({}, "The judge has no address."),
        ({"judge_url": "http://x/v1"}, "The judge has no name."),
    ):
        with pytest.raises(UserError) as caught:
            load_recipe(str(FOLDER / "judge.py"), parameters)
        assert caught.value.what == what and "-p judge_url=" in caught.value.do
