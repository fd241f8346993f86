"""config.json of public models, as far as memory depends on it, and model folders whose weights are headers alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from promptstill.engine.models import Model

LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336, "model_type": "llama",
    "max_position_embeddings": 131072, "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
    "torch_dtype": "bfloat16", "vocab_size": 128256,
}  # fmt: skip
QWEN_8B = {
    "architectures": ["Qwen3ForCausalLM"], "head_dim": 128, "hidden_size": 4096, "intermediate_size": 12288,
    "max_position_embeddings": 40960, "model_type": "qwen3", "num_attention_heads": 32, "num_hidden_layers": 36,
    "num_key_value_heads": 8, "sliding_window": None, "torch_dtype": "bfloat16", "vocab_size": 151936,
}  # fmt: skip
QWEN_SMALL = {  # heads × head_dim is not the hidden size
    "architectures": ["Qwen3ForCausalLM"], "head_dim": 128, "hidden_size": 1024, "intermediate_size": 3072,
    "max_position_embeddings": 40960, "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28,
    "num_key_value_heads": 8, "torch_dtype": "bfloat16", "vocab_size": 151936,
}  # fmt: skip
SMOLLM = {
    "architectures": ["LlamaForCausalLM"], "dtype": "float32", "hidden_size": 576, "intermediate_size": 1536,
    "max_position_embeddings": 8192, "model_type": "llama", "num_attention_heads": 9, "num_hidden_layers": 30,
    "num_key_value_heads": 3, "vocab_size": 49152,
}  # fmt: skip
FP8 = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]}
QWEN_FP8 = {**QWEN_8B, "quantization_config": FP8}
LATENT = {  # DeepSeek-V3: 61 layers whose cache holds 512 + 64 numbers a token
    "architectures": ["DeepseekV3ForCausalLM"], "hidden_size": 7168, "intermediate_size": 18432, "kv_lora_rank": 512,
    "max_position_embeddings": 163840, "moe_intermediate_size": 2048, "num_attention_heads": 128,
    "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128, "qk_rope_head_dim": 64,
    "quantization_config": FP8, "vocab_size": 129280,
}  # fmt: skip
MULTIMODAL = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": QWEN_SMALL, "vision_config": {}}
LLAMA_BYTES = 16_060_522_496  # 8,030,261,248 numbers of 2 bytes


def header(sizes: dict[str, int]) -> bytes:
    """The beginning of a safetensors file with one tensor of each precision, of so many bytes."""
    end, tensors = 0, dict[str, Any]()
    for kind, size in sizes.items():
        tensors[kind] = {"dtype": kind, "shape": [size], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
    return len(text).to_bytes(8, "little") + text


def write_model(folder: Path, config: dict[str, Any], **sizes: int) -> Model:
    """A folder with the config, and weights of so many bytes by precision (`BF16=16_000_000_000`)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(header(sizes))
    return Model("acme", str(folder), "0" * 64)
