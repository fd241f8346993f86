"""The chat markers of a model: the strings that its tokenizer reads as structure, wherever they stand.

They come from the tokenizer's files, in the model's folder or in the hub's cache, or else from the endpoint, which is
asked how it splits the usual ones. Nothing is downloaded.
"""

from __future__ import annotations

from itertools import compress
from pathlib import Path
from typing import Any

from promptstill.endpoint.client import Client
from promptstill.endpoint.tokenize import tokenize
from promptstill.engine.models import Model
from promptstill.files import read_json
from promptstill.prompt.template import fewest_markers

FILES = ("tokenizer.json", "tokenizer_config.json")  # the second has them where there is no fast tokenizer
# Where no tokenizer can be read: of ChatML and Qwen, Llama, Gemma, Mistral, Phi, DeepSeek, Cohere, Granite, gpt-oss.
USUAL_MARKERS = (
    *("<s>", "</s>", "<bos>", "<eos>", "<pad>", "<unk>", "<|endoftext|>", "<|end_of_text|>", "<|begin_of_text|>"),
    *("<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|header_start|>", "<|header_end|>", "<|eot_id|>", "<|eom_id|>"),
    *("<|eot|>", "<|eom|>", "<|python_tag|>", "<|python_start|>", "<|python_end|>", "<|image|>"),
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
    *("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>"),
    *("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[THINK]", "[/THINK]", "[IMG]"),
    *("<|start|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>", "<|call|>"),
    *("<|start_of_role|>", "<|end_of_role|>", "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
    *("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
    *("<|SYSTEM_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|START_THINKING|>", "<|END_THINKING|>"),
    *("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
    *("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>"),
)


def chat_markers(model: Model) -> tuple[str, ...]:
    """The markers of a model whose tokenizer is on this machine; USUAL_MARKERS where none is."""
    return read_markers(model) or USUAL_MARKERS


async def find_markers(model: Model, client: Client) -> tuple[str, ...]:
    """The markers of the model that `client` asks: by its files, by its endpoint, or else USUAL_MARKERS."""
    return read_markers(model) or await ask_for_markers(client, model.name) or USUAL_MARKERS


def read_markers(model: Model) -> tuple[str, ...]:
    """The markers in the files of the model's tokenizer; none where no such file is here."""
    for name in FILES:
        path = tokenizer_file(model, name)
        tokens = added_tokens(read_json(path)) if path else []
        if tokens:
            texts = [token["content"] for token in tokens]
            marked = [token.get("special", False) or token["content"].startswith(("<", "[")) for token in tokens]
            return fewest_markers(list(compress(texts, marked)))
    return ()


def tokenizer_file(model: Model, name: str) -> Path | None:
    """The file in the model's folder, or in the hub's cache once an engine has downloaded the model."""
    if model.is_local:
        path = Path(model.path, name)
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(model.path, name)
    except ValueError:
        return None  # no id of the hub
    return Path(found) if isinstance(found, str) else None


def added_tokens(file: dict[str, Any]) -> list[dict[str, Any]]:
    """The tokens that were added to the vocabulary, as either of FILES has them."""
    return list(file.get("added_tokens") or file.get("added_tokens_decoder", {}).values())


async def ask_for_markers(client: Client, model: str) -> tuple[str, ...]:
    """Those of USUAL_MARKERS that are one token to the endpoint, by vLLM's /tokenize; none where it does not say."""
    found = await tokenize(client, model, "\n".join(USUAL_MARKERS))
    return tuple(marker for marker in USUAL_MARKERS if found and marker in found.strings)
