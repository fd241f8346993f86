"""Weights are known by content: read once, wherever they are copied to."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from promptstill.engine import models
from promptstill.engine.digests import SAID_FROM, content_digests
from promptstill.files import digest
from tests.support.terminal import say_nothing

OPENED: Counter[str] = Counter()


def count_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not str(arguments[0]).endswith(".safetensors"):
        return
    if arguments[2] & os.O_ACCMODE == os.O_RDONLY:
        OPENED[str(arguments[0])] += 1


sys.addaudithook(count_opened)  # it cannot be taken back; it only counts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROMPTSTILL_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    for number in (1, 2):
        (folder / f"model-0000{number}-of-00002.safetensors").write_bytes(b"weights %d" % number)
    return folder


def sha256(folder: Path) -> str:
    found = models.find_model(str(folder), say_nothing).sha256
    assert found is not None
    return found


def reads(folder: Path) -> list[int]:
    return [OPENED[str(path)] for path in sorted(folder.glob("*.safetensors"))]


def test_a_second_start_reads_no_weights(folder: Path) -> None:
    first = sha256(folder)
    assert reads(folder) == [1, 1] and sha256(folder) == first and reads(folder) == [1, 1]
    names = [path.name for path in sorted(folder.glob("*.safetensors"))]
    contents = [digest(f"weights {number}".encode()) for number in (1, 2)]
    assert first == digest([list(pair) for pair in zip(names, contents, strict=True)])


def test_a_copy_is_the_same_model_whatever_its_times(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    for path in copied.iterdir():
        os.utime(path, (1, 1))
    assert sha256(copied) == sha256(folder) and reads(copied) == [1, 1]


def test_only_a_file_that_changed_is_read_again(folder: Path) -> None:
    first, changed = sha256(folder), folder / "model-00002-of-00002.safetensors"
    changed.write_bytes(b"weights 3")
    os.utime(changed, (1, 1))
    assert sha256(folder) != first and reads(folder) == [1, 2]
    changed.write_bytes(b"longer weights")
    os.utime(changed, (1, 1))
    sha256(folder)
    assert reads(folder) == [1, 3]


def test_files_that_are_gone_are_forgotten(folder: Path, tmp_path: Path) -> None:
    sha256(folder)
    other = shutil.copytree(folder, tmp_path / "other")
    shutil.rmtree(folder)
    sha256(other)
    assert {Path(key).parent for key in json.loads((tmp_path / "cache/weights.json").read_text())} == {other}


@pytest.mark.parametrize("broken", ["", "[1]", '{"PATH": 3}', '{"PATH": {"size": 9, "sha256": "x"}}'])
def test_a_memory_that_cannot_be_read_is_made_again(folder: Path, tmp_path: Path, broken: str) -> None:
    first = sha256(folder)
    path = str(folder / "model-00001-of-00002.safetensors")
    (tmp_path / "cache/weights.json").write_text(broken.replace("PATH", path))
    assert sha256(folder) == first and reads(folder) == [2, 2]


def test_without_a_place_to_remember_it_is_hashed_each_time(folder: Path) -> None:
    files = sorted(folder.glob("*.safetensors"))
    nowhere = folder / "config.json" / "weights.json"
    assert content_digests(files, nowhere, say_nothing) == content_digests(files, nowhere, say_nothing)
    assert reads(folder) == [2, 2]


def test_many_bytes_are_announced(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    large = folder / "large.safetensors"
    with large.open("wb") as file:
        file.truncate(SAID_FROM)  # a hole, which takes no room on the disk
    memory = tmp_path / "memory.json"
    content_digests([large], memory, said.append)
    content_digests([large], memory, said.append)
    assert said == ["hashing 2.0 GiB of weights, this once"]
