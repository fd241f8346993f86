"""The adapter's files: what is refused, what a check finds, and a merge that answers the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from distill.adapter import check_adapter, check_hyper, largest_difference, load_adapter, merge, probe_rows
from distill.forgetting import ITEMS, recall
from distill.targets import logprobs
from distill.train import train
from distill.weights import load_base, load_tokenizer
from optimizer.errors import UserError
from optimizer.models import Model
from tests import tiny

CPU = torch.device("cpu")
Spoil = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def adapter(base: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    hyper = replace(tiny.LEARNS, epochs=1, rslora=True)
    train(tiny.job(base, folder / "work", hyper), folder / "adapter", lambda progress: None)
    return folder / "adapter"


def test_all_linear_means_every_layer_but_the_output(base: Model) -> None:
    found = check_hyper(base, tiny.LEARNS)
    assert found == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert check_hyper(base, replace(tiny.LEARNS, targets=("v_proj", "q_proj"))) == ["q_proj", "v_proj"]


@pytest.mark.parametrize("targets", [("q_proj", "query"), ("lm_head",), ("embed_tokens",), ()])
def test_targets_that_cannot_be_served_are_refused_before_training(base: Model, targets: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        check_hyper(base, replace(tiny.LEARNS, targets=targets))
    assert caught.value.what == f"No adapter can be put on {targets[-1] if targets else 'nothing'}."
    assert caught.value.do.startswith("Choose among down_proj, gate_proj,")


def test_a_trained_adapter_passes_its_check(base: Model, adapter: Path) -> None:
    assert check_adapter(adapter, base) == 8


def zero(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor * (".lora_A." in name) for name, tensor in tensors.items()}


def elsewhere(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.replace("model.layers", "decoder.layers"): tensor for name, tensor in tensors.items()}


def narrow(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor[:, :5].contiguous() if ".lora_A." in name else tensor for name, tensor in tensors.items()}


def infinite(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor / 0 if "layers.0.mlp.up_proj.lora_A" in name else tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (zero, "14 of its 14 B matrices are zero."),
        (elsewhere, "28 of its tensors fit no module of the base, such as base_model.model.decoder.layers."),
        (narrow, "14 of its tensors fit no module of the base, such as base_model.model.model.layers."),
        (infinite, "1 of its tensors hold numbers that are not finite."),
    ],
)
def test_a_dead_or_foreign_adapter_is_found(
    base: Model, adapter: Path, tmp_path: Path, spoil: Spoil, words: str
) -> None:
    spoiled = copy(adapter, tmp_path / "spoiled", spoil)
    with pytest.raises(UserError) as caught:
        check_adapter(spoiled, base)
    assert words in caught.value.why


def copy(adapter: Path, to: Path, spoil: Spoil) -> Path:
    shutil.copytree(adapter, to)
    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file(spoil(tensors), to / "adapter_model.safetensors", metadata={"format": "pt"})
    return to


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"use_dora": True}, "vLLM refuses its use_dora."),
        ({"bias": "all", "modules_to_save": ["lm_head"]}, "vLLM refuses its modules_to_save, bias."),
        ({"r": 12}, "vLLM refuses its r."),
    ],
)
def test_an_adapter_of_another_kind_is_refused(
    base: Model, adapter: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    changed = copy(adapter, tmp_path / "changed", lambda tensors: tensors)
    path = changed / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError) as caught:
        check_adapter(changed, base)
    assert caught.value.why == words


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_half_an_adapter_is_none(base: Model, adapter: Path, tmp_path: Path, name: str) -> None:
    half = copy(adapter, tmp_path / "half", lambda tensors: tensors)
    (half / name).write_bytes((half / name).read_bytes()[:100])
    with pytest.raises(UserError, match="holds no whole adapter"):
        check_adapter(half, base)


def test_a_merged_model_answers_as_base_plus_adapter(base: Model, adapter: Path, tmp_path: Path) -> None:
    difference = merge(base, adapter, tmp_path / "merged")
    assert difference < 1e-3
    merged = load_base(Model("merged", str(tmp_path / "merged"), None), "fp32", CPU)
    plain = load_base(base, "fp32", CPU)
    rows = probe_rows(plain.config.vocab_size)
    alone, joined = logprobs(plain, rows), logprobs(merged, rows)
    assert largest_difference(alone, joined) > 0.1, "the adapter would not be in the merged weights"
    assert largest_difference(logprobs(load_adapter(plain, adapter), rows), joined) < 1e-3
    assert (tmp_path / "merged" / "tokenizer.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


def test_a_merge_overwrites_nothing(base: Model, adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        merge(base, adapter, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_the_off_task_probe_compares_the_adapter_with_its_base(base: Model, adapter: Path) -> None:
    tokenizer = load_tokenizer(base)
    found = recall(load_adapter(load_base(base, "fp32", CPU), adapter), tokenizer)
    assert found.items == 60 and sorted(found.kinds) == ["arithmetic", "fact", "grammar", "sense"]
    assert round((found.adapted - found.base) * 60) == found.gained - found.lost and found.gained + found.lost > 0
    assert found.base == pytest.approx(sum(was for was, _ in found.kinds.values()) / 4)


def test_an_adapter_that_changes_nothing_forgets_nothing(base: Model, adapter: Path, tmp_path: Path) -> None:
    silent = copy(adapter, tmp_path / "silent", zero)
    found = recall(load_adapter(load_base(base, "fp32", CPU), silent), load_tokenizer(base))
    assert found.change == 0 and found.lost == found.gained == 0


def test_off_task_items_are_distinct_and_differ_only_in_their_end() -> None:
    items = [json.loads(line) for line in ITEMS.read_text().splitlines()]
    assert len({item["prompt"] for item in items}) == len(items) == 60
    assert all(item["right"] != item["wrong"] and item["right"][0] == item["wrong"][0] == " " for item in items)
    assert not any(item["prompt"].endswith(" ") for item in items)
