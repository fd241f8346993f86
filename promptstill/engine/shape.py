"""Reads from a model's folder what its memory depends on: config.json, and the headers of its safetensors files.

No weights are read, and neither torch nor transformers is loaded.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTEXT_LIMIT = 8192  # tokens of prompt and reply that a vLLM of our own takes at most
INDEX = "model.safetensors.index.json"
HEADER_LIMIT = 100_000_000  # bytes, as the format's own library has it
WIDE = ("F32", "F64")
HALF = ("F16", "BF16")


@dataclass(frozen=True)
class ModelShape:
    """The numbers of a decoder. inner: width of its MLP, all experts that one token takes together. context: tokens.

    values: numbers that one token leaves in the KV cache of one layer; heads do not divide them where they are `latent`
    (multi-head latent attention).
    """

    layers: int
    heads: int
    kv_heads: int
    hidden: int
    inner: int
    vocabulary: int
    context: int
    values: int
    latent: bool = False


@dataclass(frozen=True)
class WeightSizes:
    """Bytes of a model's weights on disk, by the precision of their numbers. packed: quantized, or of no known kind."""

    wide: int = 0
    half: int = 0
    packed: int = 0

    @property
    def on_disk(self) -> int:
        return self.wide + self.half + self.packed

    @property
    def on_gpu(self) -> int:
        """Bytes in memory as `--dtype auto` holds them: numbers of 4 bytes as 2."""
        return self.wide // 2 + self.half + self.packed

    @property
    def as_float32(self) -> int:
        """Bytes in memory with 4 for each number. Files of no known kind count as numbers of 2 bytes."""
        return self.wide + 2 * (self.half + self.packed)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json; empty where there is none that can be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part that is of the language model, where others are beside it."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def context_length(config: Mapping[str, Any]) -> int:
    """Tokens of the model's own context, cut at CONTEXT_LIMIT."""
    return min(int(text_config(config).get("max_position_embeddings") or CONTEXT_LIMIT), CONTEXT_LIMIT)


def quantization(config: Mapping[str, Any]) -> str | None:
    """The method by which the weights are quantized (awq, gptq, fp8, compressed-tensors, …); None for none."""
    for part in (config, text_config(config)):
        found = part.get("quantization_config")
        if isinstance(found, dict):
            return str(found.get("quant_method") or "of no named method")
    return None


def read_shape(config: Mapping[str, Any]) -> ModelShape | None:
    """The shape of a decoder with attention in each layer; None for a config that names its parts otherwise."""
    text = text_config(config)
    try:
        layers, heads = int(text["num_hidden_layers"]), int(text["num_attention_heads"])
        hidden = int(text["hidden_size"])
        kv_heads = int(text.get("num_key_value_heads") or heads)
        head_dim = int(text.get("head_dim") or hidden // heads)
        latent = int(text.get("kv_lora_rank") or 0)
        experts = int(text.get("moe_intermediate_size") or 0) * int(text.get("num_experts_per_tok") or 1)
        return ModelShape(
            layers=layers,
            heads=heads,
            kv_heads=kv_heads,
            hidden=hidden,
            inner=max(int(text.get("intermediate_size") or 4 * hidden), experts),
            vocabulary=int(text.get("vocab_size") or 0),
            context=context_length(config),
            values=latent + int(text.get("qk_rope_head_dim") or 0) if latent else 2 * kv_heads * head_dim,
            latent=bool(latent),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def weight_files(folder: Path) -> list[Path]:
    """The files that vLLM loads: those that the index names, or else all of *.safetensors."""
    try:
        named = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return sorted(folder.glob("*.safetensors"))
    return [folder / name for name in sorted(named)]


def weight_sizes(folder: Path) -> WeightSizes:
    """The sizes of the weights in a folder; of none where there are no files."""
    sizes: Counter[str] = Counter()
    for path in weight_files(folder):
        sizes.update(_sizes(path))
    return WeightSizes(sizes["wide"], sizes["half"], sizes["packed"])


def _sizes(path: Path) -> Counter[str]:
    """Bytes by precision; those of a file without a safetensors header are packed."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length) if length <= HEADER_LIMIT else b"")
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        sizes: Counter[str] = Counter()
        for entry in tensors:
            begin, end = entry["data_offsets"]
            kind = entry["dtype"]
            sizes["wide" if kind in WIDE else "half" if kind in HALF else "packed"] += end - begin
        return sizes
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Counter({"packed": path.stat().st_size if path.is_file() else 0})
