"""Training examples as token ids."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from distill.train.encode import Encoder, TooLong, encode_examples
from promptstill.errors import UserError
from tests.support import tiny


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny.make_tokenizer(chat=True)


def test_a_raw_prompt_is_its_text_and_nothing_else(tokenizer: Any) -> None:
    prompt = tiny.prompt("raw")
    ids = Encoder(tokenizer, prompt).prompt_ids(prompt.messages({"text": "the {red} <|sea|>"}))
    assert tokenizer.decode(ids) == "Text: the {red} <|sea|>\nHue:"


def test_a_chat_prompt_goes_through_the_models_template(tokenizer: Any) -> None:
    prompt = tiny.prompt("chat")
    ids = Encoder(tokenizer, prompt).prompt_ids(prompt.messages({"text": "the teal sea"}))
    assert tokenizer.decode(ids) == "<|im_start|>user\nthe teal sea<|im_end|>\n<|im_start|>assistant\n"
    assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 2


@pytest.mark.parametrize("layout", ["raw", "chat"])
def test_an_encoded_example_is_prompt_completion_and_stop_token(tokenizer: Any, layout: str) -> None:
    prompt = tiny.prompt(layout)
    [example] = tiny.examples(prompt, [("teal", "sea")])
    row = Encoder(tokenizer, prompt).encode(example)
    assert row.prompt == Encoder(tokenizer, prompt).prompt_ids(example.messages)
    assert row.completion[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(row.completion[:-1]) == (" cold" if layout == "raw" else "cold")
    assert row.length == len(row.ids)


def test_the_prompts_ids_stay_where_a_token_would_span_the_border(tokenizer: Any) -> None:
    encoder = Encoder(tokenizer, tiny.prompt("raw"))
    messages = [{"role": "user", "content": "the col"}]
    alone = encoder.prompt_ids(messages)
    joint = tokenizer.encode("the cold", add_special_tokens=True)
    assert tuple(joint[: len(alone)]) != alone, "no token spans this border; choose another"
    ids = encoder.completion_ids(messages, "d")
    assert encoder.prompt_ids(messages) == alone and tokenizer.decode(alone + ids) == "the cold"


def test_over_long_rows_come_back_apart_and_whole(tokenizer: Any) -> None:
    prompt = tiny.prompt("raw")
    examples = tiny.examples(prompt, [("teal", "sea"), ("teal", "sea " * 60), ("ruby", "door")])
    rows, over_long = encode_examples(Encoder(tokenizer, prompt), examples, 60)
    assert [row.location for row in rows] == ["row 1", "row 3"]
    length = Encoder(tokenizer, prompt).encode(examples[1]).length
    assert over_long == [TooLong("row 2", length)] and length > 60


def test_a_layout_that_the_model_has_no_template_for_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        Encoder(tiny.make_tokenizer(chat=False), tiny.prompt("chat"))
    assert str(caught.value) == (
        "tiny has no chat template.\nThe layout chat needs one.\nUse the layout raw, or an instruction-tuned model."
    )


def test_what_the_command_line_needs_loads_without_torch() -> None:
    modules = ["train.job", "train.encode", "train.hyper", "train.distance", "verdict.adapter_check", "teach.example"]
    names = ", ".join(["distill", *(f"distill.{module}" for module in modules)])
    code = f"import sys, {names}; sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'peft')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
