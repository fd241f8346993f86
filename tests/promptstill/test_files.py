"""Files: whole or not at all, and one digest for equal values."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptstill.files import canonical_json, digest, file_digest, read_json, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new folder" / "a.json"
    write_json(path, {"é": 1})

    def fail(*values: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"é": 2})
    assert read_json(path) == {"é": 1} and [one.name for one in path.parent.iterdir()] == ["a.json"]


def test_a_lone_surrogate_is_escaped(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "half \ud83d")
    assert (tmp_path / "a").read_text() == "half \\ud83d"


def test_equal_values_have_equal_digests(tmp_path: Path) -> None:
    assert canonical_json({"b": 1, "a": [None, "é"]}) == '{"a":[null,"\\u00e9"],"b":1}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1}) != digest({"a": 2, "b": 2})
    write_text(tmp_path / "a", "text")
    assert file_digest(tmp_path / "a") == digest(b"text")
