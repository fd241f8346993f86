"""A small Llama of random weights with a byte-level tokenizer of its own, and an easy task. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from distill.teach.example import TrainingExample, completion
from distill.train.encode import Encoder, encode_examples
from distill.train.hyper import HyperParameters
from distill.train.job import DevSet, TrainingJob, TrainingProgress, TrainingResult
from distill.train.weights import load_tokenizer
from promptstill.engine.models import Model
from promptstill.prompt.decoding import Decoding
from promptstill.prompt.fields import Field
from promptstill.prompt.prompt import Prompt
from promptstill.prompt.reply import ReplyFormat

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WORDS = ["crimson", "amber", "scarlet", "coral", "ruby", "orange", "azure", "navy", "teal", "cobalt", "indigo", "cyan"]
HUES = {word: "warm" if i < 6 else "cold" for i, word in enumerate(WORDS)}
PLACES = ["sea", "sky", "wall", "door", "lamp", "coat", "shoe", "vase", "boat", "roof"]
HYPER = HyperParameters(r=8, lr=1e-2, epochs=4, batch=8)
Training = tuple[TrainingResult, Path, list[TrainingProgress]]  # its result, its folder, and what it reported


def model(folder: Path, *, chat: bool = True) -> Model:
    """Write the model into `folder`, as `save_pretrained` does."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    torch.set_num_threads(1)  # at this size a second thread only waits
    disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = make_tokenizer(chat)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.2,  # with the usual 0.02 so narrow a model cannot be sure of anything
    )
    LlamaForCausalLM(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(folder)
    return Model("tiny", str(folder), "0" * 64)


def make_tokenizer(chat: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([f"Text: the {word} {place}\nHue: {HUES[word]}" for word, place in pairs()], trainer)
    tokens = {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=inner, **tokens)  # type: ignore[no-untyped-call]
    fast.chat_template = CHAT if chat else None
    return fast


@cache
def pairs() -> tuple[tuple[str, str], ...]:
    return tuple((word, place) for word in WORDS for place in PLACES)


def prompt(layout: str = "raw", **decoding: Any) -> Prompt:
    """A bare prompt, as `layouts.bare` writes it."""
    text = {"type": "string"}
    return Prompt.model_validate({
        "layout": layout, "model": "tiny", "instruction": "", "fixed": [], "reply": ReplyFormat(style="text"),
        "inputs": [Field(name="text", desc="", type=text)], "outputs": [Field(name="hue", desc="", type=text)],
        "user": "Text: {text}\nHue:" if layout == "raw" else "{text}",
        "decoding": Decoding(max_tokens=4, stop=["\n"], **decoding),
    })  # fmt: skip


def examples(which: Prompt, rows: Sequence[tuple[str, str]]) -> list[TrainingExample]:
    """Training examples of pairs of word and place."""
    found = []
    for i, (word, place) in enumerate(rows):
        inputs, outputs = {"text": f"the {word} {place}"}, {"hue": HUES[word]}
        turns: list[Mapping[str, str]] = list(which.messages(inputs))
        found.append(
            TrainingExample(str(i), f"row {i + 1}", inputs, outputs, turns, completion(which, outputs), source="gold")
        )
    return found


def job(base: Model, work_dir: Path, hyper: HyperParameters = HYPER, layout: str = "raw") -> TrainingJob:
    """Train on most pairs, score accuracy on the rest."""
    which = prompt(layout)
    encoder = Encoder(load_tokenizer(base), which)
    split = [i % 4 == 0 for i in range(len(pairs()))]
    train = [pair for pair, dev in zip(pairs(), split, strict=True) if not dev]
    dev = examples(which, [pair for pair, dev in zip(pairs(), split, strict=True) if dev])
    rows, _ = encode_examples(encoder, examples(which, train), 256)
    right = [example.completion.strip() for example in dev]

    def score(texts: list[str]) -> float:
        return sum(text.strip() == gold for text, gold in zip(texts, right, strict=True)) / len(right)

    prompts = [encoder.prompt_ids(example.messages) for example in dev]
    return TrainingJob(base, rows, DevSet(prompts, which.decoding, score), hyper, work_dir)


def whole_training(base: Model, folder: Path) -> Training:
    """Train in `folder`, without an interruption."""
    from distill.train.loop import train

    reports: list[TrainingProgress] = []
    return train(job(base, folder / "work"), folder / "adapter", reports.append), folder, reports


def same_adapter(one: Path, other: Path, within: float = 1e-5) -> bool:
    import torch
    from safetensors.torch import load_file

    left, right = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    return left.keys() == right.keys() and all(torch.allclose(left[k], right[k], atol=within) for k in left)
