"""best.json as a file: what is refused, and in which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptstill import Prompt, UserError
from promptstill.prompt.artifact import MAX_BYTES, SCHEMA_VERSION, read_artifact, read_best


def refusal(path: Path, text: str | None) -> str:
    """The message about a file of this text, or about one that is not there."""
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_artifact(path)
    return str(caught.value)


def test_a_missing_file_is_refused_with_the_likeliest_name(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    assert refusal(path, None) == f"{path} does not exist.\nMake it with: optimize RECIPE.py"
    (tmp_path / "best1.json").touch()
    assert refusal(path, None) == f"{path} does not exist.\nDid you mean {tmp_path / 'best1.json'}?"


@pytest.mark.parametrize("text", ["{", "\x00", "[" * 100_000])
def test_a_broken_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    assert refusal(path, text).startswith(f"{path} is not JSON.\n")


@pytest.mark.parametrize("text", ["[]", "{}", "7", '{"schema_version": "2"}'])
def test_json_without_a_version_is_no_artifact(text: str, tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    assert refusal(path, text) == f"{path} is no promptstill artifact.\nIt has no schema_version.\nGive a best.json."


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert refusal(path, None).startswith(f"{path} is larger than 16 MiB.\n")


def test_a_newer_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    assert refusal(path, '{"schema_version": 99}') == (
        f"{path} has schema_version 99.\n"
        "This promptstill reads 2.\n"
        "Upgrade promptstill: pip install --upgrade promptstill"
    )


def test_a_file_of_version_1_is_refused_by_name_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    message = (
        f"{path} has schema_version 1, of an earlier promptstill.\n"
        "This promptstill reads 2; scores and counts have other names there.\n"
        "Write it again with optimize or distill, or convert it as CHANGELOG.md says."
    )
    assert refusal(path, '{"schema_version": 1, "prompt": {}}') == message
    for read in (Prompt.load, read_best):
        with pytest.raises(UserError) as caught:
            read(path)
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": {"path": 5, "sha256": "x", "parameters": {}}}, "recipe.path: Input should be a valid string."),
        ({"search": {"seed": []}}, "search.seed: Input should be a valid integer."),
        ({"splits": {"seed": 0, "sha256": {"other": "x"}}}, "splits.sha256.other.[key]: Input should be"),
        ({"splits": {"sha256": {}}}, "splits.seed: Field required."),
        ({"scores": None}, "scores: Input should be"),
        ({"model": {}}, "model.name: Field required."),
    ],
)
def test_a_best_json_without_its_record_is_refused_by_place(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    record = {
        "id": "x",
        "name": "feel",
        "shipped": "winner",
        "recipe": {"path": "feel.py", "sha256": "x", "parameters": {}},
        "model": {"name": "m", "sha256": None},
        "search": {"seed": 0},
        "splits": {"sha256": {"train": "x", "dev": "x", "test": "x"}, "train": 3, "seed": 0},
        "scores": {"dev": {"winner": {"mean": 0.5, "low": 0.1, "high": 1, "n": 3}}, "test": None},
    }
    path = tmp_path / "best.json"
    path.write_text(json.dumps({"schema_version": SCHEMA_VERSION, **record}))
    assert read_best(path)["name"] == "feel"
    path.write_text(json.dumps({"schema_version": SCHEMA_VERSION, **record, **change}))
    with pytest.raises(UserError) as caught:
        read_best(path)
    assert caught.value.what == f"{path} has not all that optimize wrote." and message in caught.value.why


def test_a_prompt_without_a_search_is_no_best_json(tmp_path: Path) -> None:
    path = tmp_path / "prompt.json"
    path.write_text(f'{{"schema_version": {SCHEMA_VERSION}, "prompt": {{}}}}')
    assert read_artifact(path) == {"schema_version": SCHEMA_VERSION, "prompt": {}}
    with pytest.raises(UserError) as caught:
        read_best(path)
    assert str(caught.value) == (
        f"{path} is not what optimize wrote.\n"
        "It holds a prompt, but no search: distill's prompt.json is such a file.\n"
        "Give the best.json that it came from."
    )
