"""Greedy replies of a model in this process, for dev scores during training, when no engine runs.

Batches are padded on the left and sorted by length. A reply ends as the engine's would: at the stop token, before a
stop string, or at `max_tokens`. Of structured outputs only `choice` is enforced here; the engine enforces all grammars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from promptstill.prompt.decoding import Decoding

BATCH = 32
Ids = Sequence[int]


def generate_replies(model: Any, tokenizer: Any, prompts: Sequence[Ids], decoding: Decoding) -> list[str]:
    """The reply texts, in the order of `prompts`."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found: dict[int, str] = {}
    for at in range(0, len(order), BATCH):
        batch = order[at : at + BATCH]
        found |= zip(batch, _generate_batch(model, tokenizer, [prompts[i] for i in batch], decoding), strict=True)
    return [found[i] for i in range(len(prompts))]


def _generate_batch(model: Any, tokenizer: Any, prompts: Sequence[Ids], decoding: Decoding) -> list[str]:
    width = max(map(len, prompts))
    stop = int(tokenizer.eos_token_id)
    ids = torch.tensor([[stop] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    choices = (decoding.structured or {}).get("choice")
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            do_sample=False,
            max_new_tokens=decoding.max_tokens,
            eos_token_id=stop,
            pad_token_id=stop,
            stopping_criteria=StoppingCriteriaList([StopStrings(tokenizer, decoding.stop, width)]),
            prefix_allowed_tokens_fn=allow_choices(tokenizer, choices, width, stop) if choices else None,
        )
    texts = tokenizer.batch_decode(out[:, width:], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return [cut_at_stop(text, decoding.stop) for text in texts]


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """`text` up to the first stop string."""
    return text[: min([at for at in map(text.find, stop) if at >= 0], default=len(text))]


def allow_choices(
    tokenizer: Any, choices: Sequence[str], width: int, stop: int
) -> Callable[[int, torch.Tensor], list[int]]:
    """A function that allows the next tokens of `choices`, and the stop token after a whole one."""
    paths = [(*tokenizer.encode(choice, add_special_tokens=False), stop) for choice in choices]

    def next_tokens(_row: int, ids: torch.Tensor) -> list[int]:
        done = tuple(ids[width:].tolist())
        return sorted({path[len(done)] for path in paths if path[: len(done)] == done and len(path) > len(done)}) or [
            stop
        ]

    return next_tokens


class StopStrings(StoppingCriteria):
    """Ends a row once its reply contains a stop string. (Transformers' own class builds a table of the vocabulary.)"""

    def __init__(self, tokenizer: Any, stop: Sequence[str], width: int) -> None:
        self.tokenizer, self.stop, self.width = tokenizer, stop, width

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> Any:
        texts = self.tokenizer.batch_decode(input_ids[:, self.width :], skip_special_tokens=True) if self.stop else []
        has_stop = [any(stop in text for stop in self.stop) for text in texts] or [False] * len(input_ids)
        return torch.tensor(has_stop, device=input_ids.device)
