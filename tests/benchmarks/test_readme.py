"""The tables in pages are those of the stored cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import readme, recipes
from benchmarks.cells import RESULTS, read
from benchmarks.honesty import honesty


def test_a_table_takes_the_place_of_the_old_one_and_of_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    begin = readme.begin("python -m one")
    page.write_text(f"before\n{begin}\nold\n{readme.END}\nafter\n{readme.begin('another')}\nkept\n{readme.END}\n")
    for text in ("first", "second"):
        readme.replace_table(page, "python -m one", text)
    kept = f"after\n{readme.begin('another')}\nkept\n{readme.END}\n"
    assert page.read_text() == f"before\n{begin}\nsecond\n{readme.END}\n{kept}"
    with pytest.raises(ValueError, match="no place for the table of: python -m none"):
        readme.replace_table(page, "python -m none", "third")
    assert "third" not in page.read_text()


def test_the_tables_of_the_pages_are_those_of_the_cells() -> None:
    tables = [(page, recipes.COMMAND, text) for page, text in recipes.page_tables(RESULTS).items()]
    for part, (page, to_table) in readme.TABLES.items():
        records = read(part, RESULTS)
        assert records and not to_table(records[:0]), part
        tables.append((page, f"python -m benchmarks {part}", to_table(records)))
    assert not honesty.short_table(read("honesty", RESULTS)[:-1]), "a part of the cells could look too good"
    for page, command, text in tables:
        written = (readme.ROOT / page).read_text(encoding="utf-8")
        assert f"{readme.begin(command)}\n{text}\n{readme.END}" in written, page
