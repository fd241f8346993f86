"""What every training objective must do, tried on each entry of the table; and the loss of hard targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from distill.train.encode import Encoder
from distill.train.logprobs import target_losses
from distill.train.objectives import OBJECTIVES
from distill.train.weights import attach, load_base, load_tokenizer
from promptstill.engine.models import Model
from tests.support import tiny

CPU = torch.device("cpu")
each = pytest.mark.parametrize("name", OBJECTIVES)


@each
def test_rows_end_with_what_is_learned_and_none_is_longer_than_the_limit(name: str, base: Model) -> None:
    prompt = tiny.prompt()
    encoder = Encoder(load_tokenizer(base), prompt)
    examples = tiny.examples(prompt, [("teal", "sea"), ("teal", "sea " * 60)])
    [row], [long] = OBJECTIVES[name].encode(encoder, examples, 60)
    assert row.prompt == encoder.prompt_ids(examples[0].messages) and row.length <= 60 < long.tokens
    assert row.completion[-1] == encoder.tokenizer.eos_token_id


@each
def test_the_loss_is_a_sum_over_rows_of_any_length_that_reaches_the_adapter(name: str, base: Model) -> None:
    loss, prompt = OBJECTIVES[name].loss, tiny.prompt()
    examples = tiny.examples(prompt, [("teal", "sea " * words) for words in (1, 3, 2, 5)])
    rows, _ = OBJECTIVES[name].encode(Encoder(load_tokenizer(base), prompt), examples, 256)
    model = attach(load_base(base, "fp32", CPU), tiny.HYPER)
    whole = loss(model, rows, CPU)
    with torch.no_grad():
        parts = [float(loss(model, part, CPU)) for part in (rows[:1], rows[1:])]
    assert whole.shape == () and float(whole.detach()) == pytest.approx(sum(parts), rel=1e-4)
    whole.backward()  # type: ignore[no-untyped-call]
    assert any(one.grad is not None and bool(one.grad.any()) for one in model.parameters() if one.requires_grad)


@each
def test_the_completions_tokens_are_learned_and_no_others(name: str, base: Model, tmp_path: Path) -> None:
    loss, rows = OBJECTIVES[name].loss, tiny.job(base, tmp_path).rows[:4]
    model, seen = attach(load_base(base, "fp32", CPU), tiny.HYPER), list[torch.Tensor]()

    def keep(module: torch.nn.Module, inputs: Any, logits: torch.Tensor) -> None:
        logits.retain_grad()
        seen.append(logits)

    hook = model.get_output_embeddings().register_forward_hook(keep)
    loss(model, rows, CPU).backward()  # type: ignore[no-untyped-call]  # torch has none for it
    hook.remove()
    reached = sum(int(one.grad.any(-1).sum()) for one in seen if one.grad is not None)
    assert reached == sum(len(row.completion) for row in rows), "one place for each token of a completion"
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-2)
    before = float(target_losses(model, rows, CPU).sum().detach())
    for _ in range(10):
        optimizer.zero_grad()
        loss(model, rows, CPU).backward()  # type: ignore[no-untyped-call]  # torch has none for it
        optimizer.step()
    assert float(target_losses(model, rows, CPU).sum().detach()) < before / 2


def test_hard_targets_are_the_completions_tokens(base: Model, tmp_path: Path) -> None:
    rows, model = tiny.job(base, tmp_path).rows[:4], load_base(base, "fp32", CPU)
    assert torch.equal(OBJECTIVES["hard"].loss(model, rows, CPU), target_losses(model, rows, CPU).sum())
