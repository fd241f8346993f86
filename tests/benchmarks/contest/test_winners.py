"""A winner as it is committed: no text of a row in it."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.contest.tasks import BenchTask, write_task_files
from benchmarks.contest.winners import without_rows


def test_rows_are_replaced_by_their_numbers_and_everything_else_stays(task: BenchTask, tmp_path: Path) -> None:
    train = write_task_files(task, task.fast, tmp_path / "files").open("fake").splits.train
    first, second = ({**row.inputs, **row.outputs} for row in train[:2])
    text = 'Say "it", as \n of the row'
    train[2].inputs["word"] = text  # type: ignore[index]  # a row as no file of this task holds one
    long = {"word": "w1 a word of its own", "code": "c1"}
    program = {"instruction": f"Say the code of {first['word']}.", "k": 2, "pool": [second, first], "demos": [long]}
    short = without_rows({**program, "fixed": json.dumps({"demo": text})}, [*train])
    assert short["instruction"] == program["instruction"], "so short a text may be no row's"
    assert short["pool"] == {"train rows": [1, 0]} and short["demos"] == [long] and short["k"] == 2
    assert short["fixed"] == '{"demo": "{train 2 word}"}'
