"""The adapter's files: checked before training, written in one step, loaded, and merged into the base.

vLLM (0.32) takes plain LoRA: no bias, no DoRA, no `modules_to_save`. It does not complain about modules that the base
lacks: it serves the base's answers under the adapter's name (vllm issue 34186). verdict/adapter_check.py finds that.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from safetensors import SafetensorError
from safetensors.torch import save as to_bytes

from distill.train.checkpoint import disk_errors
from distill.train.distance import largest_difference
from distill.train.encode import EncodedExample
from distill.train.hyper import HyperParameters
from distill.train.logprobs import logprobs
from distill.train.weights import empty_model, load_base, load_tokenizer, target_modules
from promptstill.engine.models import Model
from promptstill.errors import InfrastructureError, UserError
from promptstill.files import hidden_path, read_json, share_files, write_bytes, write_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MERGE_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.25, torch.float16: 0.1}  # nats of a token


def check_hyper(model: Model, hyper: HyperParameters) -> list[str]:
    """The modules that training will adapt. Raises `UserError` for what vLLM would refuse afterwards."""
    return target_modules(empty_model(model), hyper.targets)


def write_adapter(folder: Path, config: LoraConfig, base: str, tensors: Mapping[str, torch.Tensor]) -> None:
    """Weights first, configuration last: a folder without the latter is no adapter. `base` is the base model's name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)
    write_bytes(folder / WEIGHTS, to_bytes(dict(tensors), metadata={"format": "pt"}))
    config.inference_mode, config.base_model_name_or_path = True, base
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        config.save_pretrained(temporary)
        values = read_json(Path(temporary, CONFIG))
    # PEFT keeps a set; sorted, equal trainings write equal files.
    write_json(folder / CONFIG, values | {"target_modules": sorted(values["target_modules"])})


def load_adapter(base: Any, folder: Path) -> Any:
    """`base` with the adapter of `folder`, in evaluation mode."""
    return PeftModel.from_pretrained(base, str(folder)).eval()


def merge_adapter(model: Model, adapter_dir: Path, out: Path) -> float:
    """Write base and adapter as one model folder, `out`, and read it back.

    Returns the largest difference (nats) in a token's log-probability between the two, over fixed random text. Raises
    `UserError` where `out` is not empty, `InfrastructureError` where the written model answers differently.
    """
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty.", "", "Name a new folder, or remove it.")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = hidden_path(out)
    temporary.mkdir()
    try:
        with disk_errors(out.parent):
            difference = _merge_into(temporary, model, adapter_dir)
            share_files(temporary)
            shutil.rmtree(out, ignore_errors=True)
            temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return difference


def _merge_into(folder: Path, model: Model, adapter_dir: Path) -> float:
    cpu = torch.device("cpu")
    dtype = empty_model(model).config.dtype or torch.float32
    adapted = load_adapter(load_base(model, "fp32", cpu), adapter_dir)
    rows = probe_rows(adapted.config.vocab_size)
    expected = logprobs(adapted, rows)
    try:
        adapted.merge_and_unload().to(dtype).save_pretrained(folder)
    except SafetensorError as error:  # safetensors' error for a full disk
        raise OSError(str(error)) from error
    load_tokenizer(model).save_pretrained(folder)
    del adapted
    written = load_base(Model("merged", str(folder), None), "fp32", cpu)
    difference = largest_difference(expected, logprobs(written, rows))
    if difference > MERGE_TOLERANCE.get(dtype, 0.25):
        raise InfrastructureError(
            "The merged model answers differently from base plus adapter.",
            f"A token's log-probability differs by {difference:.4f}.",
            "Serve the adapter beside the base instead.",
        )
    return difference


def probe_rows(vocabulary: int, rows: int = 8, length: int = 24) -> list[EncodedExample]:
    """Random token sequences, the same for every call: half prompt, half completion."""
    draw = random.Random(0)
    texts = [tuple(draw.randrange(vocabulary) for _ in range(length)) for _ in range(rows)]
    return [EncodedExample("probe", text[: length // 2], text[length // 2 :]) for text in texts]
