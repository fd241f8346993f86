"""The student's dev replies, generated in batches."""

from __future__ import annotations

import torch

from distill.train.weights import load_base
from promptstill.engine.models import Model
from tests.support import tiny

CPU = torch.device("cpu")


def test_a_structured_choice_is_the_only_thing_that_dev_replies_say(base: Model) -> None:
    from distill.train.generate import generate_replies
    from distill.train.weights import load_tokenizer

    decoding = tiny.prompt("raw", structured={"choice": [" warm", " cold"]}).decoding
    tokenizer = load_tokenizer(base)
    prompts = [tokenizer.encode(text) for text in ("Text: the red sea\nHue:", "Hue:", "x")]
    texts = generate_replies(load_base(base, "fp32", CPU), tokenizer, prompts, decoding)
    assert set(texts) <= {" warm", " cold"} and len(texts) == 3


def test_replies_do_not_depend_on_their_neighbours(base: Model) -> None:
    from distill.train.generate import generate_replies
    from distill.train.weights import load_tokenizer

    model, tokenizer = load_base(base, "fp32", CPU), load_tokenizer(base)
    decoding = tiny.prompt("raw").decoding.model_copy(update={"stop": ["e"], "max_tokens": 12})
    prompts = [tokenizer.encode(f"Text: the {word} {place}\nHue:" * n) for n, (word, place) in enumerate(
        tiny.pairs()[:40:5], 1)]  # fmt: skip
    together = generate_replies(model, tokenizer, prompts, decoding)
    assert together == [generate_replies(model, tokenizer, [prompt], decoding)[0] for prompt in prompts]
    assert not any("e" in text for text in together)
