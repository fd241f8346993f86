"""The tables in pages are those of the stored cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import readme, recipes
from benchmarks.cells import RESULTS, read
from benchmarks.honesty import honesty
from tests.benchmarks.contest.records import contest_record


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


def test_the_contests_table_has_all_contestants_and_says_who_is_above_ours() -> None:
    good, half = [1.0] * 40, [0.0, 1.0] * 20
    records = [contest_record("ours", cap, half, seed) for cap in (250, 500) for seed in (0, 1, 2)]
    records += [contest_record("bag_of_words", 0, good), contest_record("gepa", 500, [0.0] * 40)]
    records += [contest_record("simba", 250, half, seed) for seed in (0, 1)]
    records += [contest_record("simba", 500, half, ended="itself")]
    for one in records:
        one["key"]["task"] = "trec"
    head, _, *rows, empty, first, second, third = readme.contest_table(records).splitlines()
    assert head == "| contestant | TREC-6, 250 calls | TREC-6, 500 calls |" and not empty
    names = ["| bag of words (no model)", "| SIMBA", "| GEPA", "| promptstill"]
    assert [row.split(" | ")[0] for row in rows] == names
    assert (
        rows[0].endswith("| the same |") and "| left out | 50.0 (" in rows[1] and "| not measured | 0.0 (0–" in rows[2]
    )
    assert rows[3].count("| 50.0 ×3 (3") == rows[3].count("; 50–50) |") == 2
    assert first.startswith("- TREC-6: **at 250 calls above promptstill (50.0):** bag of words (no model) by +50.0")
    assert "at 500 calls" in second
    assert third == "- TREC-6: SIMBA, seed 0, 1, is left out at 250 calls: had not ended by itself"
    assert readme.contest_table([contest_record("bag_of_words", 0, good)]) == "", "nobody searched"


def test_the_tables_of_the_pages_are_those_of_the_cells() -> None:
    tables = [(page, recipes.COMMAND, text) for page, text in recipes.page_tables(RESULTS).items()]
    for part, (page, to_table) in readme.TABLES.items():
        assert not to_table([]), part
        tables.append((page, f"python -m benchmarks {part}", to_table(read(part, RESULTS))))
    assert not honesty.short_table(read("honesty", RESULTS)[:-1]), "a part of the cells could look too good"
    tables = [one for one in tables if one[-1]]
    assert tables
    for page, command, text in tables:
        written = (readme.ROOT / page).read_text(encoding="utf-8")
        assert f"{readme.begin(command)}\n{text}\n{readme.END}" in written, page
