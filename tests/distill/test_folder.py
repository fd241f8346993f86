"""The folder of a distillation: what is refused in its way, which folders are opened, and how students are counted."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from distill.folder import ADAPTER_FILES, DistilledFolder
from distill.settings import DistillSettings
from distill.train.hyper import HyperParameters
from distill.train.tune import tune
from promptstill.endpoint.stores import open_calls
from promptstill.errors import UserError
from promptstill.prompt.artifact import SCHEMA_VERSION
from promptstill.scoring.rows import read_row_ids
from promptstill.task.examples import Example

SETTINGS = DistillSettings(from_prompt="best.json")
# Every file of a folder. The private ones hold rows or replies; the others are figures, settings, or handed on.
PRIVATE = {
    *("dataset.jsonl", "rejected.jsonl", "test.jsonl", "report.html"),
    *("work/plan.json", "work/teacher.json", "work/calls.db", "work/search/study.log"),
}
SHARED = {
    *("adapter_config.json", "adapter_model.safetensors", "prompt.json", "README.md", "train.json", "verdict.json"),
    *("metrics.jsonl", "work/settings.json", "work/student/metrics.jsonl"),
    *("work/student/adapter/adapter_config.json", "work/student/adapter/adapter_model.safetensors"),
}


def test_a_folder_is_not_written_into_twice(tmp_path: Path) -> None:
    folder = DistilledFolder.create(tmp_path / "d", SETTINGS)
    with pytest.raises(UserError, match="already holds a distillation that is not finished") as caught:
        DistilledFolder.create(tmp_path / "d", SETTINGS)
    assert "distill --resume" in caught.value.do
    for path in (folder.prompt_path, folder.verdict_path, *(folder.path / name for name in ADAPTER_FILES)):
        path.write_text("{}")
    with pytest.raises(UserError, match="already holds something") as caught:
        DistilledFolder.refuse_occupied(tmp_path / "d")
    assert "--resume" not in caught.value.do


def test_a_folder_is_opened_with_its_settings(tmp_path: Path) -> None:
    DistilledFolder.create(tmp_path / "d", SETTINGS)
    folder, settings = DistilledFolder.open(tmp_path / "d")
    assert settings == SETTINGS and folder.read_step("teacher") is None
    folder.write_step("teacher", {"calls": 1})
    assert folder.read_step("teacher") == {"calls": 1}
    with pytest.raises(UserError, match="is no distillation to go on with"):
        DistilledFolder.open(tmp_path)


@pytest.mark.parametrize(("change", "version"), [({"schema_version": 3}, 3), ({}, 1)])
def test_a_folder_of_another_version_is_refused(change: dict[str, int], version: int, tmp_path: Path) -> None:
    folder = DistilledFolder.create(tmp_path / "d", SETTINGS)
    values = json.loads(folder.settings_path.read_text())
    assert values.pop("schema_version") == SCHEMA_VERSION == 2
    folder.settings_path.write_text(json.dumps(values | change))
    with pytest.raises(UserError) as caught:
        DistilledFolder.open(folder.path)
    assert str(caught.value) == (
        f"{folder.path} is of another promptstill (schema_version {version}).\n"
        "This one reads 2.\n"
        "Distil again into another folder with -o."
    )


def test_rows_and_replies_are_their_owners_alone_and_the_rest_follows_the_umask(
    umask: int, distilled: DistilledFolder
) -> None:
    for step in ("plan", "teacher"):
        distilled.write_step(step, {})
    with closing(open_calls(distilled.calls_url)):
        pass
    tune(lambda hyper, folder, keep_going: 0.5, HyperParameters(), 1, distilled.work_dir / "search", ignore)
    files = [path for path in distilled.path.rglob("*") if path.is_file()]
    modes = {str(path.relative_to(distilled.path)): path.stat().st_mode & 0o777 for path in files}
    assert modes == dict.fromkeys(PRIVATE, 0o600) | dict.fromkeys(SHARED, 0o666 & ~umask)


def ignore(*values: object) -> None:
    """Hears of the search's trials."""


def test_students_are_counted_over_the_folders_beside_this_one_that_have_its_test_rows(
    distilled: DistilledFolder,
) -> None:
    other = DistilledFolder.create(distilled.path.with_name("other"), SETTINGS)
    written = json.loads(distilled.prompt_path.read_text())
    ids, own = read_row_ids(distilled.path / "test.jsonl"), written["adapter"]["sha256"]
    rows = [Example(row, row, {}, {}, {}, row) for row in ids]
    new = [Example("new", "new", {}, {}, {}, "new")]
    for name, text in (("torn", "{"), ("list", "[1]"), ("best", '{"splits": {"sha256": {"test": "rows"}}}')):
        (distilled.path.with_name(name)).mkdir()
        (distilled.path.with_name(name) / "prompt.json").write_text(text)
    (distilled.path.with_name("list") / "test.jsonl").write_text("{")
    assert other.count_students(new, "another") == 1
    assert other.count_students([*new, rows[0]], "another") == 2, "one row in common is enough"
    assert other.count_students(rows, own) == 1, "the same student, trained twice"
    assert other.count_students(rows, "another") == 2
