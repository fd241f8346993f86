"""What cells name as their version."""

from __future__ import annotations

import re

from benchmarks.contest import contest
from benchmarks.contest.version import commit, version_of


def test_every_contestant_has_a_version() -> None:
    found = {name: version_of(name) for name in contest.ORDER}
    assert all(re.fullmatch(r"[\w-]+ [\w.]+(, [\w-]+ [\w.]+)*", text) for text in found.values()), found
    assert found["ours"] == found["starters"] != found["mipro"] and "scikit-learn" in found["bag_of_words"]
    assert found["gepa"].startswith(found["mipro"]) and "promptolution" in found["capo"]


def test_a_cell_names_the_commit() -> None:
    assert re.fullmatch(r"([0-9a-f]{10}\+?)?", commit())
