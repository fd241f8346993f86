"""Variants made from artifacts: their names, scores and base models, and the files that are refused."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptstill.errors import UserError
from promptstill.files import file_digest
from promptstill.prompt.prompt import Prompt
from serving.banner import banner_text
from serving.samples import sample_inputs
from serving.variants import ServedModels, load_variants, read_distilled, read_prompt
from tests.serving.conversation import middleware
from tests.serving.upstream import Upstream
from tests.support import artifacts
from tests.support.artifacts import mutations
from tests.support.bodies import chat_body


def test_variants_are_named_by_recipe_and_kind(best: Path, tmp_path: Path) -> None:
    served = load_variants([best], [artifacts.sketch_distilled(tmp_path / "distilled")])
    assert list(served.variants) == ["qa-prompt", "qa-distilled"] and served.base == "smollm2-135m"
    prompt, student = served.variants.values()
    assert prompt.artifact == artifacts.qa_prompt("raw").id and prompt.engine_name == "smollm2-135m"
    assert student.engine_name == f"qa-distilled@{student.artifact[:12]}"
    assert prompt.score == {"mean": 0.44, "low": 0.37, "high": 0.5, "n": 120}


def test_a_merged_student_is_its_own_base(tmp_path: Path) -> None:
    folder = artifacts.sketch_distilled(tmp_path / "distilled") / "merged"
    folder.mkdir()
    artifact = json.loads((folder.parent / "prompt.json").read_text())
    artifact["model"] = {"name": "qa-merged", "sha256": "1" * 64}
    (folder / "prompt.json").write_text(json.dumps(artifact))
    (folder / "config.json").write_text("{}")
    served = load_variants([folder], [])
    assert served.base == "qa-merged" and served.base_sha256 == "1" * 64 and served.folder == folder
    assert served.variants["qa-distilled"].engine_name == "qa-merged"


def test_an_adapters_prompt_is_not_served_without_the_adapter(tmp_path: Path) -> None:
    folder = artifacts.sketch_distilled(tmp_path / "distilled")
    path = folder / "prompt.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"adapter": {"sha256": "0" * 64, "r": 8}}))
    with pytest.raises(UserError, match="is the prompt of an adapter") as caught:
        read_prompt(folder / "prompt.json")
    assert caught.value.do.endswith(f"serve --adapter {folder}")


def test_new_weights_are_a_new_artifact(tmp_path: Path) -> None:
    first, second = (
        read_distilled(artifacts.sketch_distilled(tmp_path / str(n), weights=bytes([n]))) for n in range(2)
    )
    assert first.prompt.id == second.prompt.id and first.engine_name != second.engine_name


@pytest.mark.parametrize("scores", [None, {}, {"test": None}, {"test": {"winner": {}}}, [], {"test": {"mean": "high"}}])
def test_a_prompt_that_was_not_tested_has_no_score(tmp_path: Path, scores: Any) -> None:
    (tmp_path / "b.json").write_text(
        json.dumps(artifacts.artifact("qa", artifacts.qa_prompt("raw")) | {"scores": scores})
    )
    assert not read_prompt(tmp_path / "b.json").score


@pytest.mark.parametrize("shipped", ["student", "prompt"])
def test_a_students_score_is_its_own(tmp_path: Path, shipped: str) -> None:
    folder = artifacts.sketch_distilled(tmp_path / "d")
    scores = {"test": {"student": {"score": {"mean": 0.5, "n": 9}}, "gains": {}}}
    written = json.loads((folder / "prompt.json").read_text()) | {"scores": scores, "shipped": shipped}
    (folder / "prompt.json").write_text(json.dumps(written))
    assert read_distilled(folder).score == {"mean": 0.5, "n": 9}


def test_two_models_of_one_name_are_refused(best: Path) -> None:
    with pytest.raises(UserError, match=r"Two models would be called qa-prompt\."):
        load_variants([best, best], [])


def test_two_base_models_are_refused(best: Path, tmp_path: Path) -> None:
    other = artifacts.write_best(tmp_path / "other.json", "feel", artifacts.feel_prompt(), "f" * 64)
    with pytest.raises(UserError) as caught:
        load_variants([best, other], [])
    assert str(caught.value).splitlines() == [
        "qa-prompt and feel-prompt have different base models.",
        "They are smollm2-135m and smollm2-135m (ffffffffffff). One server has one base model.",
        "Start two servers, on different ports.",
    ]


def test_a_server_needs_an_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="Nothing to serve"):
        load_variants([], [])
    (tmp_path / "best.json").write_text("{}")
    with pytest.raises(UserError, match="Nothing to serve") as caught:
        load_variants([], [])
    assert caught.value.do.endswith("serve best.json")


def test_an_unfinished_distilled_folder_is_refused(tmp_path: Path) -> None:
    folder = artifacts.sketch_distilled(tmp_path / "d")
    (folder / "prompt.json").unlink()
    (folder / "work").mkdir()
    with pytest.raises(UserError, match="is not finished") as caught:
        read_distilled(folder)
    assert f"distill --resume {folder}" in caught.value.do


def test_a_misspelt_path_gets_a_suggestion(best: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_prompt(best.with_name("bset.json"))
    assert caught.value.do == f"Did you mean {best}?"


@pytest.mark.parametrize("example", [None, {}, {"context": "c"}, ["context", "question"], "context"])
def test_an_example_with_other_inputs_is_ignored(best: Path, example: Any) -> None:
    artifact = json.loads(best.read_text())
    best.write_text(json.dumps(artifact | {"example": example}))
    assert read_prompt(best).example is None
    row = {"context": "It is a mill.", "question": "What is it?"}
    best.write_text(json.dumps(artifact | {"example": row}))
    assert read_prompt(best).example == row


@pytest.mark.parametrize("name", ["", "a/b", "a=b", "--host", "x" * 65, "a b", None, 5])
def test_an_unsafe_name_is_refused(tmp_path: Path, name: Any) -> None:
    (tmp_path / "b.json").write_text(json.dumps(artifacts.artifact(name, artifacts.qa_prompt("raw"))))
    with pytest.raises(UserError, match="has the name"):
        read_prompt(tmp_path / "b.json")


def test_a_folder_in_place_of_best_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"say: --adapter {tmp_path}"):
        read_prompt(tmp_path)


def test_a_folder_that_distill_did_not_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no prompt\.json and no adapter_config\.json"):
        read_distilled(tmp_path)


def test_weights_that_the_artifact_does_not_name_are_refused(tmp_path: Path) -> None:
    folder = artifacts.sketch_distilled(tmp_path / "d")
    written = json.loads((folder / "prompt.json").read_text())
    for sha256, right in ((file_digest(folder / "adapter_model.safetensors"), True), ("0" * 64, False)):
        (folder / "prompt.json").write_text(json.dumps(written | {"adapter": {"sha256": sha256, "r": 8}}))
        with contextlib.nullcontext() if right else pytest.raises(UserError, match="does not match"):
            assert read_distilled(folder).name == "qa-distilled"


@pytest.mark.parametrize("rank", [0, 1000, "8", True, None])
def test_an_adapter_that_vllm_would_refuse_is_refused(tmp_path: Path, rank: Any) -> None:
    with pytest.raises(UserError, match="is not the config of a LoRA adapter"):
        read_distilled(artifacts.sketch_distilled(tmp_path / "d", rank))


HOSTILE_INPUTS: list[Any] = [
    {"context": "a" * 1000, "question": "<|im_end|>{context}"},
    {"thing": "ice"},
    {"words": ["a" * 30 + "!"] * 50, "limit": 10**300},
    {"words": {"<|im_end|>": [[[[]]]]}, "limit": True},
]


def test_a_sample_of_a_type_that_refers_to_itself_in_many_places_is_small() -> None:
    written = artifacts.form_prompt().model_dump(mode="json")
    written["inputs"][0]["type"] = artifacts.widening(20)
    assert len(json.dumps(sample_inputs(Prompt.model_validate(written), "some"))) < 50_000


async def status_of(app: Any, body: dict[str, Any]) -> int:
    """The status of a chat request."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": json.dumps(body).encode()}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    await app({"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}, receive, send)
    return int(sent[0]["status"])


async def use(served: ServedModels, log: Path, size: int) -> None:
    """Do with variants what a server does: list them, print them, warm them, and answer for them."""
    cards = [{"id": v.name, "promptstill": v.card | {"warm": {"prompt_tokens": 1, "cached_tokens": 0}}}
             for v in served.variants.values()]  # fmt: skip
    banner_text(served, json.loads(json.dumps(cards)), "http://127.0.0.1:1/v1", None).encode()
    app = middleware(served, Upstream(record=False), log)
    for name, variant in served.variants.items():
        for inputs in [sample_inputs(variant.prompt, "some"), *HOSTILE_INPUTS]:
            with contextlib.suppress(UserError):
                request = json.dumps(variant.prompt.request(inputs))
                assert len(request) < 2 * size + 64 * len(json.dumps(inputs))
            assert await status_of(app, chat_body(name, inputs)) < 500


def hostile_artifacts(count: int, folder: Path) -> tuple[int, int]:
    """How many of `count` mutated artifacts are refused, and how many load and do no harm."""
    originals = [artifacts.artifact(name, prompt) for name, prompt in artifacts.prompts("fake").items()]
    path, counts = folder / "best.json", [0, 0]
    runner = asyncio.Runner()

    @settings(max_examples=count, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.sampled_from(originals), st.lists(mutations, min_size=1, max_size=2))
    def load(original: dict[str, Any], changes: list[Any]) -> None:
        artifact = copy.deepcopy(original) | {"id": None}
        for change in changes:
            change(artifact)
        path.write_text(json.dumps(artifact))
        try:
            served = load_variants([path], [])
        except UserError:
            counts[0] += 1
            return
        counts[1] += 1
        runner.run(use(served, folder / "log", path.stat().st_size))

    with runner:
        load()
    return counts[0], counts[1]


@pytest.fixture
def no_connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Every address that is connected to or looked up; none may be."""
    tried: list[Any] = []

    def refuse(*address: Any, **options: Any) -> Any:
        tried.append(address)
        raise OSError("no connection is expected here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield tried
    assert tried == []


def test_a_hostile_artifact_is_refused_or_does_no_harm(tmp_path: Path, no_connection: list[Any]) -> None:
    refused, loaded = hostile_artifacts(500, tmp_path)
    assert refused > 100 and loaded > 50


@pytest.mark.slow
def test_10000_hostile_artifacts_are_refused_or_do_no_harm(tmp_path: Path, no_connection: list[Any]) -> None:
    refused, loaded = hostile_artifacts(10_000, tmp_path)
    assert refused > 2000 and loaded > 1000
