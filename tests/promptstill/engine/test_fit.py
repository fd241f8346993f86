"""A model on this machine: what its folder and the user's arguments come to, and what is refused before an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptstill.engine import vllm as engines
from promptstill.engine.arguments import value_of
from promptstill.engine.fit import check_cpu, place_on_gpus
from promptstill.engine.gpus import Gpu
from promptstill.engine.machine import Machine
from promptstill.engine.memory import Placement
from promptstill.engine.models import Model
from promptstill.engine.source import ModelSource, open_endpoint
from promptstill.errors import InfrastructureError, UserError
from tests.promptstill.engine.folders import FP8, LLAMA_8B, LLAMA_BYTES, QWEN_FP8, SMOLLM, write_model
from tests.support.terminal import say_nothing

CPU = Machine(cores=(0, 1), memory_gib=23.4, free_gib=20.0)


def gpus(count: int = 1, memory_gib: float = 79.6) -> Machine:
    return Machine(cores=(0,), memory_gib=64, free_gib=60, gpus=(Gpu(memory_gib, memory_gib - 0.4),) * count)


def placed(model: Model, machine: Machine, text: str = "", gpu_memory: float | None = None) -> Placement:
    return place_on_gpus(model, machine, text.split(), 64, gpu_memory)


@pytest.fixture
def llama(tmp_path: Path) -> Model:
    return write_model(tmp_path / "llama", LLAMA_8B, BF16=LLAMA_BYTES)


def test_arguments_change_what_is_needed(llama: Model) -> None:
    usual = placed(llama, gpus()).share
    assert placed(llama, gpus(), "--max-model-len 1k").share < usual
    assert placed(llama, gpus(), "--kv-cache-dtype fp8").share < usual
    assert placed(llama, gpus(), "--max-num-seqs=16").share <= usual
    assert placed(llama, gpus(), "--dtype float32").share > usual
    assert placed(llama, gpus(), "--gpu-memory-utilization 0.7", gpu_memory=0.9).share == 0.7
    assert placed(llama, gpus(), gpu_memory=0.9).share == 0.9
    assert placed(llama, gpus(4), "-tp 2") == Placement(2, 2, placed(llama, gpus(4), "-tp 2").share)


@pytest.mark.parametrize("text", ["--quantization fp8", "-pp 2", "--kv-cache-memory-bytes 8G", "--load-format dummy"])
def test_what_the_folder_does_not_tell_is_given_most_of_a_gpu(llama: Model, text: str) -> None:
    assert placed(llama, gpus(2), text) == Placement(1, 1, 0.85)


def test_numbers_of_four_bytes_are_held_in_two(tmp_path: Path) -> None:
    wide = write_model(tmp_path / "wide", LLAMA_8B, F32=2 * LLAMA_BYTES)
    half = write_model(tmp_path / "half", LLAMA_8B, BF16=LLAMA_BYTES)
    assert placed(wide, gpus()) == placed(half, gpus())


def test_a_quantized_model_is_counted_as_it_is(tmp_path: Path, llama: Model) -> None:
    model = write_model(tmp_path / "fp8", QWEN_FP8, F8_E4M3=7_000_000_000, BF16=2_400_000_000, F32=2_000_000)
    assert placed(model, gpus()).share < placed(llama, gpus()).share
    assert placed(model, gpus(1, 15.6)).tensor == 1


def test_the_command_has_one_server_for_all_copies(llama: Model) -> None:
    options = engines.ServerOptions(vllm_args="--max-num-seqs 16")
    argv, _ = engines.server_command(llama, 1, gpus(4), None, options)
    assert value_of(argv, "--data-parallel-size") == "4" and value_of(argv, "--api-server-count") == "1"
    assert value_of(argv, "--tensor-parallel-size") == "1" and value_of(argv, "--dtype") == "auto"
    assert argv[-2:] == ["--max-num-seqs", "16"]
    argv, _ = engines.server_command(llama, 1, gpus(4), None, engines.ServerOptions(vllm_args="-dp 1"))
    assert value_of(argv, "--data-parallel-size", "-dp") == "1", "the user's come last"


def test_a_cpu_holds_four_bytes_of_each_number(tmp_path: Path) -> None:
    def needed(**sizes: int) -> str:
        with pytest.raises(InfrastructureError, match=r"Not enough memory to serve acme\.") as caught:
            check_cpu(write_model(tmp_path / "model", SMOLLM, **sizes), Machine(cores=(0,), memory_gib=4, free_gib=1.5))
        return caught.value.why

    assert needed(BF16=1) == "It needs about 4.0 GiB; 1.5 GiB are free."
    assert needed(BF16=2**30) == "It needs about 6.0 GiB; 1.5 GiB are free."
    assert needed(F32=2**30) == "It needs about 5.0 GiB; 1.5 GiB are free."


@pytest.mark.parametrize("method", ["awq", "gptq", "fp8"])
def test_a_cpu_refuses_what_has_no_float32_form(tmp_path: Path, method: str) -> None:
    model = write_model(tmp_path, {**SMOLLM, "quantization_config": {**FP8, "quant_method": method}}, I32=1000)
    with pytest.raises(UserError) as caught:
        check_cpu(model, CPU)
    assert caught.value.what == f"acme is quantized ({method}), which this machine's engine does not take."
    assert "float32" in caught.value.why and "--dtype bfloat16" in caught.value.do
    check_cpu(model, CPU, ["--dtype", "bfloat16"])


def test_a_cpu_takes_compressed_tensors(tmp_path: Path) -> None:
    config = {**SMOLLM, "quantization_config": {"quant_method": "compressed-tensors", "format": "int-quantized"}}
    check_cpu(write_model(tmp_path, config, I8=1000), CPU)


def test_a_quantized_model_is_refused_before_an_engine_is_started(tmp_path: Path, fake_vllm: Path) -> None:
    model = write_model(fake_vllm, QWEN_FP8, F8_E4M3=1000)
    with pytest.raises(UserError, match="is quantized"), engines.running_engine(model, tmp_path / "log", say_nothing):
        pass
    assert not (tmp_path / "log").exists()


def test_copies_are_counted_by_the_last_word(fake_vllm: Path, tmp_path: Path) -> None:
    said: list[str] = []
    model = Model("fake", str(fake_vllm), None)
    options: dict[str, Any] = {"vllm_args": "--data-parallel-size 3", "gpu_memory": 0.5}
    with engines.running_engine(
        model, tmp_path / "engine.log", said.append, options=engines.ServerOptions(**options)
    ) as engine:
        assert engine.copies == 3
    assert "there is no GPU here: --gpu-memory 0.5 changes nothing" in said


def test_the_window_grows_with_the_copies(fake_vllm: Path, tmp_path: Path) -> None:
    model = Model("fake", str(fake_vllm), None)
    for text, window in (("", 10), ("-dp 4", 40)):
        source = ModelSource(window=10, vllm_args=text)
        with open_endpoint(source, model, tmp_path / "engine.log", say_nothing) as (endpoint, _):
            assert endpoint.window == window
