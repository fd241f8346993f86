"""Lessons as token ids, and the batches that they train in."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from distill.batches import epoch_batches, micro_batches
from distill.encode import Encoded, Encoder, OverLong, context_limit, encode
from optimizer.errors import UserError
from optimizer.models import Model
from tests import tiny


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
def test_a_lesson_is_prompt_completion_and_stop_token(tokenizer: Any, layout: str) -> None:
    prompt = tiny.prompt(layout)
    [lesson] = tiny.lessons(prompt, [("teal", "sea")])
    row = Encoder(tokenizer, prompt).lesson(lesson)
    assert row.prompt == Encoder(tokenizer, prompt).prompt_ids(lesson.messages)
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
    lessons = tiny.lessons(prompt, [("teal", "sea"), ("teal", "sea " * 60), ("ruby", "door")])
    rows, over_long = encode(Encoder(tokenizer, prompt), lessons, 60)
    assert [row.where for row in rows] == ["row 1", "row 3"]
    length = Encoder(tokenizer, prompt).lesson(lessons[1]).length
    assert over_long == [OverLong("row 2", length)] and length > 60


def test_a_layout_that_the_model_has_no_template_for_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        Encoder(tiny.make_tokenizer(chat=False), tiny.prompt("chat"))
    assert str(caught.value) == (
        "tiny has no chat template.\nThe layout chat needs one.\nUse the layout raw, or an instruction-tuned model."
    )


def test_the_context_is_the_models_but_no_more_than_the_engine_serves(tmp_path: Path) -> None:
    assert context_limit(tiny.model(tmp_path)) == 256
    assert context_limit(Model("org/name", "org/name", None)) == 8192


def rows_of(count: int) -> list[Encoded]:
    """Rows of very different lengths."""
    draw = random.Random(3)
    return [Encoded(f"row {i}", tuple(range(draw.randint(5, 120))), (1, 2)) for i in range(count)]


def test_an_epoch_has_every_row_once_and_depends_on_seed_and_epoch_alone() -> None:
    rows = rows_of(150)
    first = epoch_batches(rows, 16, 0, 0)
    assert sorted(row.where for batch in first for row in batch) == sorted(row.where for row in rows)
    assert all(len(batch) <= 16 for batch in first) and len(first) == 10
    assert first == epoch_batches(rows, 16, 0, 0)
    assert first != epoch_batches(rows, 16, 0, 1) and first != epoch_batches(rows, 16, 1, 0)


def test_bucketing_leaves_little_padding() -> None:
    rows = rows_of(512)
    real = sum(row.length for row in rows)
    bucketed = sum(padded(batch) for batch in epoch_batches(rows, 16, 0, 0))
    plain = sum(padded(rows[at : at + 16]) for at in range(0, len(rows), 16))
    assert bucketed / real < 1.08 and plain / real > 1.5


def test_micro_batches_keep_to_the_budget_and_lose_nothing() -> None:
    rows = rows_of(64)
    groups = micro_batches(rows, 300)
    assert sorted(row.where for group in groups for row in group) == sorted(row.where for row in rows)
    assert all(padded(group) <= 300 for group in groups)
    assert [len(group) for group in micro_batches(rows, 1)] == [1] * 64


def padded(batch: list[Encoded]) -> int:
    return len(batch) * max(row.length for row in batch)


def test_what_the_command_line_needs_loads_without_torch() -> None:
    names = "distill, distill.job, distill.encode, distill.hyper, distill.logprobs, distill.student"
    code = f"import sys, {names}; sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'peft')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
