"""Files: whole or not at all, and one digest for equal values."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from promptstill.files import (
    canonical_json,
    create_private,
    digest,
    file_digest,
    read_json,
    write_bytes,
    write_json,
    write_jsonl,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new folder" / "a.json"
    write_json(path, {"é": 1})

    def fail(*values: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"é": 2})
    assert read_json(path) == {"é": 1} and [one.name for one in path.parent.iterdir()] == ["a.json"]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("write", "content"), [(write_bytes, b"x"), (write_text, "x"), (write_json, {}), (write_jsonl, [1])]
)
def test_a_file_follows_the_umask_and_a_private_one_is_its_owners_alone(
    write: Callable[..., None], content: object, tmp_path: Path, umask: int
) -> None:
    write(tmp_path / "shared", content)
    write(tmp_path / "private", content, private=True)
    assert (mode(tmp_path / "shared"), mode(tmp_path / "private")) == (0o666 & ~umask, 0o600)


def test_a_private_file_that_exists_stays_as_it_is(tmp_path: Path, umask: int) -> None:
    create_private(tmp_path / "new")
    assert mode(tmp_path / "new") == 0o600 and (tmp_path / "new").read_bytes() == b""
    write_text(tmp_path / "old", "kept")
    (tmp_path / "old").chmod(0o640)
    create_private(tmp_path / "old")
    assert mode(tmp_path / "old") == 0o640 and (tmp_path / "old").read_text() == "kept"


def test_a_lone_surrogate_is_escaped(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "half \ud83d")
    assert (tmp_path / "a").read_text() == "half \\ud83d"


def test_equal_values_have_equal_digests(tmp_path: Path) -> None:
    assert canonical_json({"b": 1, "a": [None, "é"]}) == '{"a":[null,"\\u00e9"],"b":1}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1}) != digest({"a": 2, "b": 2})
    write_text(tmp_path / "a", "text")
    assert file_digest(tmp_path / "a") == digest(b"text")


def test_bytes_are_written_as_they_are_on_windows_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a file is text, whose LF becomes CR LF, unless it is opened with O_BINARY."""
    flags: list[int] = []
    really_open, binary = os.open, os.O_SYNC  # Linux has no O_BINARY: any flag that does no harm stands for it
    monkeypatch.setattr(os, "O_BINARY", binary, raising=False)

    def note_flags(path: Path, flag: int, mode: int) -> int:
        flags.append(flag)
        return really_open(path, flag, mode)

    monkeypatch.setattr(os, "open", note_flags)
    write_text(tmp_path / "a.txt", "a\nb\n")
    assert len(flags) == 1 and flags[0] & binary and (tmp_path / "a.txt").read_bytes() == b"a\nb\n"
