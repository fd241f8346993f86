"""Fits a model to this machine: its memory on a CPU, its place on GPUs, what the user's own arguments change of both.

It reads the model's config and the sizes of its weights (shape.py) and refuses, before an engine is started, what
memory.py finds not to fit, and a quantized model that this machine's engine cannot compute with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from promptstill.engine.arguments import value_of
from promptstill.engine.gpus import GIB
from promptstill.engine.machine import Machine
from promptstill.engine.memory import MOST_SEQUENCES, EngineNeed, Placement, place, place_unknown
from promptstill.engine.models import Model
from promptstill.engine.shape import context_length, quantization, read_config, read_shape, weight_sizes
from promptstill.errors import InfrastructureError, UserError

CPU_OVERHEAD_GIB = 3.0
CPU_DTYPE = "float32"
# Those that vLLM (0.32) computes with in float32.
FLOAT32_METHODS = ("compressed-tensors", "torchao")
# With these the size of weights or cache is not what the folder says.
RESHAPING = (
    *("--quantization", "-q", "--load-format", "--hf-overrides", "--cpu-offload-gb", "--kv-cache-memory-bytes"),
    *("--pipeline-parallel-size", "-pp", "--enable-expert-parallel", "-ep"),
)
TENSOR, DATA, SHARE = ("--tensor-parallel-size", "-tp"), ("--data-parallel-size", "-dp"), ("--gpu-memory-utilization",)


def place_on_gpus(
    model: Model, machine: Machine, words: Sequence[str], window: int, gpu_memory: float | None
) -> Placement:
    """Where the model goes on the machine's GPUs.

    words: the user's arguments for vLLM. window: requests in flight. gpu_memory: the share of each GPU that the user
    allows; None takes what is needed. Raises `InfrastructureError` where it does not fit.
    """
    share = _number(words, *SHARE) or gpu_memory
    tensor = int(_number(words, *TENSOR) or 0) or None
    folder = Path(model.path)
    sizes, config = weight_sizes(folder), read_config(folder)
    shape = read_shape(config)
    if shape is None or not sizes.on_disk or any(value_of(words, name) is not None for name in RESHAPING):
        return place_unknown(model.name, sizes.on_gpu / GIB, machine.gpus, tensor=tensor, share=share)
    in_float32 = value_of(words, "--dtype") in ("float", "float32")
    small_cache = (value_of(words, "--kv-cache-dtype") or "").startswith("fp8")
    need = EngineNeed(
        weights=sizes.as_float32 if in_float32 else sizes.on_gpu,
        shape=shape,
        context=_tokens(value_of(words, "--max-model-len")) or shape.context,
        window=window,
        sequences=int(_number(words, "--max-num-seqs") or MOST_SEQUENCES),
        kv_bytes=1 if small_cache else 4 if in_float32 else 2,
    )
    return place(model.name, need, machine.gpus, tensor=tensor, share=share)


def check_cpu(model: Model, machine: Machine, words: Sequence[str] = ()) -> None:
    """Refuse what a CPU cannot serve, which vLLM would do after a minute, by a traceback.

    Raises `UserError` for a quantized model, and `InfrastructureError` for too little memory.
    """
    folder = Path(model.path)
    method = quantization(read_config(folder))
    if method and method not in FLOAT32_METHODS and value_of(words, "--dtype") in (None, "float", CPU_DTYPE):
        raise UserError(
            f"{model.name} is quantized ({method}), which this machine's engine does not take.",
            f"Without a GPU, vLLM computes here in {CPU_DTYPE}, and {method} has no {CPU_DTYPE} form.",
            "Give the model unquantized, or use a GPU. vLLM may know it on a CPU in another precision: "
            "--vllm-args '--dtype bfloat16'",
        )
    need = weight_sizes(folder).as_float32 / GIB + kv_gib(machine) + CPU_OVERHEAD_GIB
    if machine.free_gib < need:
        raise InfrastructureError(
            f"Not enough memory to serve {model.name}.",
            f"It needs about {need:.1f} GiB; {machine.free_gib:.1f} GiB are free.",
            "End other programs that hold memory, or choose a smaller model.",
        )


def kv_gib(machine: Machine) -> int:
    """The size of the KV cache on a CPU: a tenth of the memory, 1 to 8. 2 GiB hold 46,000 tokens of SmolLM2-135M."""
    return max(1, min(8, int(machine.memory_gib / 10)))


def context_argument(model: Model) -> str:
    """The value of --max-model-len: tokens, or as many as fit for a hub id that is not here."""
    return str(context_length(read_config(Path(model.path)))) if model.is_local else "auto"


def _number(words: Sequence[str], *names: str) -> float | None:
    """The value of an option as a number; None where vLLM is left to say that it is none."""
    text = value_of(words, *names)
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _tokens(text: str | None) -> int | None:
    """`--max-model-len` as vLLM reads it: 8192, 8k (thousands) or 8K (of 1024); None for auto and what is no number."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmM]?)", text or "")
    scale = {"": 1, "k": 1000, "K": 1024, "m": 10**6, "M": 2**20}
    return int(float(found[1]) * scale[found[2]]) if found else None
