"""Loads a base model and its tokenizer, and puts a LoRA adapter on it. Errors say which model or layer is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils.logging import disable_progress_bar

from distill.train.hyper import ALL_LINEAR, HyperParameters, Precision
from promptstill.engine.models import Model
from promptstill.errors import UserError


def load_tokenizer(model: Model) -> Any:
    return _load(AutoTokenizer, model)


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_base(model: Model, precision: Precision, device: torch.device) -> Any:
    """The model in evaluation mode, frozen; bfloat16 on a GPU and float32 elsewhere unless `precision` says otherwise.

    The model's own sampling defaults are dropped: every generation here states its decoding in full.
    """
    auto = torch.bfloat16 if device.type == "cuda" else torch.float32
    dtype = {"auto": auto, "fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    base = _load(AutoModelForCausalLM, model, dtype=dtype).to(device)
    base.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    base.requires_grad_(False)
    return base.eval()


def empty_model(model: Model) -> Any:
    """The model's modules without weights: quick to make, and enough for checks of names and shapes."""
    config = _load(AutoConfig, model)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]  # transformers leaves it untyped


def attach(base: Any, hyper: HyperParameters) -> Any:
    """`base` with a new adapter: matrices A random by `hyper.seed`, matrices B zero."""
    torch.manual_seed(hyper.seed)
    return get_peft_model(base, lora_config(base, hyper))


def lora_config(base: Any, hyper: HyperParameters) -> LoraConfig:
    """PEFT's configuration of plain LoRA, which vLLM serves."""
    return LoraConfig(
        r=hyper.r,
        lora_alpha=hyper.lora_alpha,
        lora_dropout=hyper.dropout,
        target_modules=target_modules(base, hyper.targets),
        use_rslora=hyper.rslora,
        bias="none",
        task_type="CAUSAL_LM",
    )


def public_name(model: Model) -> str:
    """The base model's name for files that leave this machine: of a folder, only its last part."""
    return Path(model.name).name if Path(model.name).is_dir() else model.name


def linear_layer_names(base: Any) -> list[str]:
    """The names of the linear layers that both PEFT and vLLM adapt, without their paths; not the output layer."""
    head = base.get_output_embeddings()
    linear = (name for name, part in base.named_modules() if isinstance(part, torch.nn.Linear) and part is not head)
    return sorted({name.rsplit(".", 1)[-1] for name in linear})


def target_modules(base: Any, targets: str | tuple[str, ...]) -> list[str]:
    """The names of the modules to adapt. Raises `UserError` for one that the model lacks or that vLLM cannot serve."""
    known = linear_layer_names(base)
    wanted = known if targets == ALL_LINEAR else [targets] if isinstance(targets, str) else list(targets)
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise UserError(
            f"No adapter can be put on {', '.join(unknown) or 'nothing'}.",
            "The model has no such linear layer, or vLLM cannot serve an adapter on it.",
            f"Choose among {', '.join(known)}, or {ALL_LINEAR}.",
        )
    return sorted(wanted)


def _load(kind: Any, model: Model, **options: Any) -> Any:
    disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    try:
        return kind.from_pretrained(model.path, local_files_only=model.is_local, **options)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(
            f"{model.name} cannot be loaded for training.",
            str(error).strip().split("\n", maxsplit=1)[0],
            "Give a folder that `save_pretrained` wrote, with its weights and tokenizer, or a hub id.",
        ) from error
