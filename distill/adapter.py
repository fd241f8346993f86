"""The adapter as files: refused before training if vLLM would refuse it, written atomically, checked, and merged.

vLLM (0.32) takes plain LoRA: no bias, no DoRA, no `modules_to_save`. What it does not do is complain about modules that
the base lacks: it serves the base's answers under the adapter's name (vllm issue 34186). Hence `check_adapter` here and
`logprobs.compare_logprobs` at the endpoint.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from distill.checkpoint import disk
from distill.encode import Encoded
from distill.hyper import RANKS, Hyper
from distill.targets import logprobs
from distill.weights import load_base, load_tokenizer, skeleton, target_modules
from optimizer.errors import InfrastructureError, UserError
from optimizer.files import write_bytes, write_json
from optimizer.models import Model

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
MERGE_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.25, torch.float16: 0.1}  # nats of a token


def check_hyper(model: Model, hyper: Hyper) -> list[str]:
    """The modules that training will adapt. Raises `UserError` for what vLLM would refuse afterwards."""
    return target_modules(skeleton(model), hyper.targets)


def write_adapter(folder: Path, config: LoraConfig, base: str, tensors: Mapping[str, torch.Tensor]) -> None:
    """Weights first, configuration last: a folder without the latter is no adapter. `base` names the model it is of."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)
    write_bytes(folder / WEIGHTS, to_bytes(dict(tensors), metadata={"format": "pt"}))
    config.inference_mode, config.base_model_name_or_path = True, base
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        config.save_pretrained(temporary)
        values = json.loads(Path(temporary, CONFIG).read_text(encoding="utf-8"))
    # A set in PEFT: sorted, so that equal trainings write equal files.
    write_json(folder / CONFIG, values | {"target_modules": sorted(values["target_modules"])})


def check_adapter(folder: Path, model: Model) -> int:
    """The rank of a written adapter. Raises `UserError` where it would not load, or would change nothing."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{folder} holds no whole adapter.", str(error), "Train it again with distill.") from error
    problems = _refused(config) + _misplaced(tensors, skeleton(model)) + _silent(tensors)
    if problems:
        raise UserError(f"The adapter in {folder} cannot be served.", "\n".join(problems), "Train it with distill.")
    return int(config["r"])


def _refused(config: Mapping[str, Any]) -> list[str]:
    wrong = [key for key in ("use_dora", "lora_bias", "modules_to_save", "layer_replication") if config.get(key)]
    wrong += ["bias"] if config.get("bias") != "none" else []
    wrong += ["r"] if config.get("r") not in RANKS else []
    return [f"vLLM refuses its {', '.join(wrong)}."] if wrong else []


def _misplaced(tensors: Mapping[str, torch.Tensor], base: Any) -> list[str]:
    """Tensors whose module the base lacks, or whose shape does not fit it."""
    modules = {name: part for name, part in base.named_modules() if isinstance(part, torch.nn.Linear)}
    wrong = []
    for name, tensor in tensors.items():
        path, _, half = name.removeprefix(PREFIX).removesuffix(".weight").rpartition(".")
        module = modules.get(path) if name.startswith(PREFIX) else None
        size = module and (module.in_features if half == "lora_A" else module.out_features)
        if size is None or tensor.shape[1 if half == "lora_A" else 0] != size:
            wrong.append(name)
    return [f"{len(wrong)} of its tensors fit no module of the base, such as {wrong[0]}."] if wrong else []


def _silent(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """B begins at zero: where it still is, the adapter does nothing."""
    halves = [tensor for name, tensor in tensors.items() if ".lora_B." in name]
    zero = sum(not bool(tensor.any()) for tensor in halves)
    broken = sum(not bool(tensor.isfinite().all()) for tensor in tensors.values())
    problems = [f"{zero} of its {len(halves)} B matrices are zero."] if zero or not halves else []
    return problems + ([f"{broken} of its tensors hold numbers that are not finite."] if broken else [])


def load_adapter(base: Any, folder: Path) -> Any:
    """`base` with the adapter of `folder`, ready to answer."""
    return PeftModel.from_pretrained(base, str(folder)).eval()


def merge(model: Model, adapter_dir: Path, out: Path) -> float:
    """Write base plus adapter as one model folder, `out`, and read it back: returns the largest difference (nats) in a
    token's log-probability between the two over fixed random text.

    Raises `UserError` where `out` is not empty, `InfrastructureError` where the written model answers differently.
    """
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty.", "", "Name a new folder, or remove it.")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        with disk(out.parent):
            difference = _merge_into(temporary, model, adapter_dir)
            shutil.rmtree(out, ignore_errors=True)
            temporary.chmod(0o755)
            temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return difference


def _merge_into(folder: Path, model: Model, adapter_dir: Path) -> float:
    cpu = torch.device("cpu")
    dtype = skeleton(model).config.dtype or torch.float32
    adapted = load_adapter(load_base(model, "fp32", cpu), adapter_dir)
    rows = probe_rows(adapted.config.vocab_size)
    expected = logprobs(adapted, rows)
    try:
        adapted.merge_and_unload().to(dtype).save_pretrained(folder)
    except SafetensorError as error:  # how a full disk reads there
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


def probe_rows(vocabulary: int, rows: int = 8, length: int = 24) -> list[Encoded]:
    """Random token sequences, the same for every call: half prompt, half completion."""
    draw = random.Random(0)
    texts = [tuple(draw.randrange(vocabulary) for _ in range(length)) for _ in range(rows)]
    return [Encoded("probe", text[: length // 2], text[length // 2 :]) for text in texts]


def largest_difference(one: list[list[float]], other: list[list[float]]) -> float:
    """The largest absolute difference between two lists of log-probabilities, token by token."""
    return max(abs(a - b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))
