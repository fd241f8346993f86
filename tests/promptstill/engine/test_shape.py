"""What is read of config.json and of the headers of safetensors files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptstill.engine.shape import (
    INDEX,
    WeightSizes,
    context_length,
    quantization,
    read_config,
    read_shape,
    weight_files,
    weight_sizes,
)
from tests.promptstill.engine.folders import (
    LATENT,
    LLAMA_8B,
    MULTIMODAL,
    QWEN_8B,
    QWEN_FP8,
    QWEN_SMALL,
    SMOLLM,
    header,
    write_model,
)


@pytest.mark.parametrize(
    ("config", "values", "context"),
    [
        (LLAMA_8B, 2 * 8 * 128, 8192), (QWEN_8B, 2 * 8 * 128, 8192), (QWEN_SMALL, 2 * 8 * 128, 8192),
        (SMOLLM, 2 * 3 * 64, 8192), (QWEN_FP8, 2 * 8 * 128, 8192), (LATENT, 512 + 64, 8192),
        (MULTIMODAL, 2 * 8 * 128, 8192), ({**SMOLLM, "max_position_embeddings": 2048}, 2 * 3 * 64, 2048),
    ],
)  # fmt: skip
def test_what_a_token_leaves_in_a_layer_of_the_cache(config: dict[str, Any], values: int, context: int) -> None:
    shape = read_shape(config)
    assert shape is not None and (shape.values, shape.context) == (values, context)


def test_without_key_value_heads_each_head_has_its_own() -> None:
    config = {key: value for key, value in LLAMA_8B.items() if key != "num_key_value_heads"}
    shape = read_shape(config)
    assert shape is not None and (shape.kv_heads, shape.values) == (32, 2 * 32 * 128)


def test_experts_that_a_token_takes_together_are_one_width() -> None:
    shape = read_shape({**LATENT, "intermediate_size": 100})
    assert shape is not None and shape.inner == 8 * 2048 and shape.latent


@pytest.mark.parametrize("config", [{}, {"model_type": "mamba", "d_model": 768}, {**SMOLLM, "num_attention_heads": 0}])
def test_a_config_of_another_kind_has_no_shape(config: dict[str, Any]) -> None:
    assert read_shape(config) is None and context_length(config) == 8192


@pytest.mark.parametrize(
    ("config", "method"),
    [
        (LLAMA_8B, None), (QWEN_FP8, "fp8"), ({"quantization_config": {"bits": 4}}, "of no named method"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}}, "awq"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4, "desc_act": False}}, "gptq"),
        ({"text_config": {"quantization_config": {"quant_method": "compressed-tensors"}}}, "compressed-tensors"),
        ({"quantization_config": None}, None),
    ],
)  # fmt: skip
def test_a_quantized_model_is_known_by_its_config(config: dict[str, Any], method: str | None) -> None:
    assert quantization(config) == method


def test_sizes_are_read_by_precision(tmp_path: Path) -> None:
    write_model(tmp_path, LLAMA_8B, F32=400, BF16=1000, F16=20, F8_E4M3=3, I32=5)
    sizes = weight_sizes(tmp_path)
    assert sizes == WeightSizes(wide=400, half=1020, packed=8)
    assert (sizes.on_disk, sizes.on_gpu, sizes.as_float32) == (1428, 1228, 2456)


def test_only_files_that_the_index_names_are_counted(tmp_path: Path) -> None:
    write_model(tmp_path, LLAMA_8B, BF16=1000)
    for number in (1, 2):
        (tmp_path / f"model-0000{number}-of-00002.safetensors").write_bytes(header({"BF16": number}))
    assert weight_sizes(tmp_path).on_disk == 1003
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": names[0], "b": names[1], "c": names[0]}}))
    assert [path.name for path in weight_files(tmp_path)] == names and weight_sizes(tmp_path).on_disk == 3


@pytest.mark.parametrize("content", [b"0" * 1024, b"", (10**18).to_bytes(8, "little"), header({"BF16": 9})[:20]])
def test_a_file_without_a_header_counts_by_its_size(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    assert weight_sizes(tmp_path) == WeightSizes(packed=len(content))


def test_a_config_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    assert read_config(tmp_path) == {}
    (tmp_path / "config.json").write_text("[1]")
    assert read_config(tmp_path) == {}
