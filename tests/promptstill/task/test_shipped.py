"""The recipes that come with promptstill: found by name, with the data that each reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from promptstill import UserError
from promptstill.task.load import load_recipe
from promptstill.task.shipped import data_files, find_shipped, shipped_folder, shipped_recipes, subject
from tests.support import ROOT


def test_a_checkout_has_them_beside_the_package() -> None:
    assert shipped_folder() == ROOT / "recipes" and all(subject(path) for path in shipped_recipes().values())


def test_a_recipe_reads_what_it_names_and_no_data_is_left_over() -> None:
    read = {name: [file.name for file in data_files(path)] for name, path in shipped_recipes().items()}
    assert read["judge"] == read["qa"] == ["qa.jsonl"] and read["hub"] == []
    files = {path.name for path in (ROOT / "recipes" / "data").iterdir()}
    assert {name for names in read.values() for name in names} == files


def test_a_name_that_nearly_fits_is_proposed() -> None:
    with pytest.raises(UserError) as caught:
        find_shipped("extarct")
    assert caught.value.do == "Did you mean extract?" and re.search("^  qa +Answer questions", caught.value.why, re.M)
    with pytest.raises(UserError) as caught:
        find_shipped("zzz")
    assert caught.value.do == "Name one of them."


def test_a_recipe_that_is_not_there_but_ships_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        load_recipe("recipes/qa.py", {})
    assert caught.value.do.endswith("optimize --new recipes/qa.py --like qa")
