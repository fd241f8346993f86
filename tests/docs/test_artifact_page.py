"""docs/artifact.md lists exactly the keys of real artifacts, each of the type that it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from typing import Any

import pytest

from distill.artifact import prompt_artifact
from distill.folder import DistilledFolder
from distill.settings import DistillSettings
from optimizer.run.artifact import first_fold_record
from optimizer.run.folder import RunFolder
from optimizer.search.sources.given import POOL_BYTES, POOL_ROWS
from promptstill.prompt.artifact import MAX_BYTES, SCHEMA_VERSION, read_artifact
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.parts import NearestDemos
from promptstill.prompt.layouts.task import Task
from promptstill.scoring.test_report import FoldScores
from tests.support import ROOT, artifacts
from tests.support.distilled import cross_validated, sample_distillation

PAGE = (ROOT / "docs/artifact.md").read_text(encoding="utf-8")
TYPES = {"text": str, "integer": int, "number": (int, float), "boolean": bool, "list": list, "null": type(None)}
Schema = dict[str, list[str]]
Found = list[tuple[str, Any]]


def listed(*headings: str) -> Schema:
    """The types of each key in the tables under these headings."""
    found: Schema = {}
    for heading in headings:
        section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        for key, types in re.findall(r"^\| `([^`]+)` \| ([a-z ]+) \|", section, re.MULTILINE):
            for path in expanded(key):
                assert path not in found, f"{path} is listed twice"
                found[path] = types.split(" or ")
    return found


def expanded(key: str) -> list[str]:
    """`a.{b,c}` as a.b and a.c."""
    parts = [part.split(",") for part in re.split(r"[{}]", key)]
    return ["".join(choice) for choice in product(*parts)]


def test_braces_are_expanded() -> None:
    assert expanded("a.{b,c}.d.{e,f}") == ["a.b.d.e", "a.b.d.f", "a.c.d.e", "a.c.d.f"]


def keys(value: Any, schema: Schema, path: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of an artifact with their values; what the page calls a map or a list is not looked into."""
    types = schema.get(path, [])
    if isinstance(value, dict) and "map" not in types:
        yield from [(path, value)] if types else []
        for key, one in value.items():
            yield from keys(one, schema, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and "list" not in types:
        for one in value:
            yield from keys(one, schema, f"{path}[]")
    else:
        yield path, value


def misfits(found: Found, schema: Schema) -> list[str]:
    """The keys whose value is not of the type that the page gives."""
    kinds = TYPES | {"map": dict, "object": dict}
    return [
        path
        for path, value in found
        if path in schema
        and not any(type(value) is bool if t == "boolean" else fits(value, kinds[t]) for t in schema[path])
    ]


def fits(value: Any, kind: Any) -> bool:
    """As isinstance, but True and False are no numbers."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


@pytest.fixture(scope="module")
def bests(finished_run: RunFolder) -> list[dict[str, Any]]:
    """A best.json as optimize wrote it; as it would be with prompts of every kind; and with test unread."""
    best = read_artifact(finished_run.best_path)
    task = Task(artifacts.Feel, "fake", 8)
    near = [build_prompt(task, "inline", "?", NearestDemos(("thing",), ({"thing": "fire", "feel": "hot"},)), k=1)]
    prompts = [*artifacts.prompts("fake").values(), *near]
    shapes = [best | {"prompt": prompt.model_dump(mode="json")} for prompt in prompts]
    sure = {"confidence": {"rows": {"row": 0.75}, "mean": 0.75, "right": 0.5, "calibration_error": 0.25}}
    gated = best["scores"]["dev"] | {"gate_rows": best["scores"]["dev"]["shipped_rows"]}
    fold = asdict(FoldScores(8, 0.1, 0.5, 0.6, best["id"]))
    folded = {"test": best["scores"]["test"] | {"folds": [fold]}}
    return [
        best,
        *shapes,
        best | {"scores": best["scores"] | folded} | first_fold_record(near[0]),
        best | {"judge": "strict@https://host/v1"},
        best | {"model": best["model"] | {"vllm_args": "--max-num-seqs 16"}},
        *(best | {"scores": best["scores"] | change} for change in ({"test": None}, {"dev": gated | sure})),
    ]


@pytest.fixture(scope="module")
def student(finished_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = DistilledFolder.create(
        tmp_path_factory.mktemp("docs") / "distilled", DistillSettings(from_prompt="best.json")
    )
    result = cross_validated(sample_distillation(finished_run, folder), folder)
    return dict(json.loads(json.dumps(prompt_artifact(result))))


def test_the_page_lists_the_keys_of_a_best_json(bests: list[dict[str, Any]]) -> None:
    schema = listed("best.json", "The prompt")
    found = [pair for best in bests for pair in keys(best, schema)]
    assert {path for path, _ in found} == set(schema)
    assert misfits(found, schema) == []


def test_the_page_lists_the_keys_of_a_students_prompt_json(student: dict[str, Any]) -> None:
    schema = listed("distilled/prompt.json", "The prompt")
    found = list(keys(student, schema))
    header = {path for path in schema if not path.startswith("prompt.")}
    assert {path for path, _ in found if not path.startswith("prompt.")} == header
    assert {path for path, _ in found} <= set(schema) and misfits(found, schema) == []


def test_a_missing_key_an_unknown_one_and_a_wrong_type_are_seen(bests: list[dict[str, Any]]) -> None:
    schema = listed("best.json", "The prompt")
    changed = bests[0] | {"id": 7, "more": {"new": 1}}
    del changed["run"]
    found = list(keys(changed, schema))
    assert {path for path, _ in found} - set(schema) == {"more.new"} and "run" not in dict(found)
    assert misfits(found, schema) == ["id"]


def test_the_bounds_are_the_codes() -> None:
    assert f"| `schema_version` | integer | {SCHEMA_VERSION} |" in PAGE
    assert f"at most {MAX_BYTES // 2**20} MiB" in PAGE
    assert f"at most {POOL_ROWS:,} rows in {POOL_BYTES // 1024} KiB" in PAGE
