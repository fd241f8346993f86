"""Copies of an adapter with changed tensors, for the checks that must notice the change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]


def zero_b(tensors: Tensors) -> Tensors:
    """With every matrix B zero the adapter does nothing."""
    return {name: tensor * (".lora_A." in name) for name, tensor in tensors.items()}


def rename_layers(tensors: Tensors) -> Tensors:
    """Names that no module of the base has."""
    return {name.replace("model.layers", "decoder.layers"): tensor for name, tensor in tensors.items()}


def copy_adapter(adapter: Path, to: Path, change: Callable[[Tensors], Tensors]) -> Path:
    shutil.copytree(adapter, to)
    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file(change(tensors), to / "adapter_model.safetensors", metadata={"format": "pt"})
    return to
