"""Data files that are no rows, refused by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptstill import UserError, read_jsonl

BAD_FILES = [
    (b"", "The data file {path} is empty."),
    (b"\n\n", "The data file {path} is empty."),
    (b'{"a": 1}\n\n7\n', "{path}, line 3: not a JSON object."),
    (b'{"a": 1}\n{"a"\n', "{path}, line 2: not JSON."),
    (b"\xff\xfe", "{path} is not UTF-8 text."),
]


@pytest.mark.parametrize(("data", "message"), BAD_FILES)
def test_a_bad_file_is_refused_by_line(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_jsonl(path)
    assert caught.value.what == message.replace("{path}", str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"The data file .*none\.jsonl does not exist\."):
        read_jsonl(tmp_path / "none.jsonl")
