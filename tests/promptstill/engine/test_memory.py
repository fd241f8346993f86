"""How much of a GPU a model takes, and over how many it goes: known configs on known cards."""

from __future__ import annotations

from typing import Any

import pytest

from promptstill.engine.gpus import GIB, Gpu
from promptstill.engine.memory import LIMIT, EngineNeed, Placement, place, place_unknown
from promptstill.engine.shape import read_shape
from promptstill.errors import InfrastructureError
from tests.promptstill.engine.folders import LATENT, LLAMA_8B, LLAMA_BYTES, QWEN_8B, QWEN_FP8, QWEN_SMALL, SMOLLM


def need(config: dict[str, Any], weights: float, window: int = 64, context: int = 8192, **more: int) -> EngineNeed:
    """weights: in bytes."""
    shape = read_shape(config)
    assert shape is not None
    return EngineNeed(int(weights), shape, context, window, **more)


def cards(count: int, memory_gib: float = 79.6, free_gib: float | None = None) -> list[Gpu]:
    return [Gpu(memory_gib, memory_gib - 0.4 if free_gib is None else free_gib)] * count


def placed(wanted: EngineNeed, gpus: list[Gpu], tensor: int | None = None, share: float | None = None) -> Placement:
    return place("acme", wanted, gpus, tensor=tensor, share=share)


@pytest.mark.parametrize(
    ("config", "kib"),
    [(LLAMA_8B, 128), (QWEN_8B, 144), (QWEN_SMALL, 112), (SMOLLM, 22.5), (QWEN_FP8, 144), (LATENT, 68.625)],
)
def test_the_cache_of_a_token(config: dict[str, Any], kib: float) -> None:
    assert need(config, 0).token_gib(1) * GIB / 1024 == pytest.approx(kib)


def test_heads_are_divided_among_gpus_down_to_one_each() -> None:
    sizes = [need(LLAMA_8B, 0).token_gib(parallel) * GIB / 1024 for parallel in (1, 2, 8, 16)]
    assert sizes == pytest.approx([128, 64, 16, 16])
    assert need(LATENT, 0).token_gib(8) == need(LATENT, 0).token_gib(1), "a latent cache is on every GPU"


def test_an_8b_takes_what_it_needs_of_a_large_card() -> None:
    one = placed(need(LLAMA_8B, LLAMA_BYTES), cards(1))
    assert (one.tensor, one.data) == (1, 1)
    # 15 GiB of weights, 16 of cache (64 requests of 2,048 tokens), some 3.5 for the rest, and a tenth.
    assert 0.45 <= one.share <= 0.52
    assert placed(need(LLAMA_8B, LLAMA_BYTES, window=8), cards(1)).share < one.share
    assert placed(need(LLAMA_8B, LLAMA_BYTES, window=4096), cards(1)).share == LIMIT
    assert placed(need(QWEN_FP8, LLAMA_BYTES / 2), cards(1)).share < one.share, "half the weights"
    assert placed(need(SMOLLM, 270e6), cards(1)).share < 0.1


def test_an_8b_fits_a_card_of_24_but_not_of_16() -> None:
    assert placed(need(LLAMA_8B, LLAMA_BYTES), cards(1, 23.6)) == Placement(1, 1, 0.92)
    with pytest.raises(InfrastructureError) as caught:
        placed(need(LLAMA_8B, LLAMA_BYTES), cards(1, 15.6))
    assert caught.value.what == "acme does not fit into GPU memory."
    assert "on one GPU, it would hold 15.0 GiB of weights, 1.0 GiB of KV cache for one context of 8,192" in (
        caught.value.why
    )
    assert "92% of 15.6 GiB may be used" in caught.value.why and "--max-model-len" in caught.value.do
    assert placed(need(QWEN_FP8, LLAMA_BYTES / 2), cards(1, 15.6)).tensor == 1


def test_a_short_window_never_takes_less_than_one_whole_context() -> None:
    one = need(LLAMA_8B, LLAMA_BYTES, window=1)
    share = placed(one, cards(1)).share
    assert share * 79.6 >= one.least_gib(1, 8192)
    assert share * 79.6 < placed(need(LLAMA_8B, LLAMA_BYTES), cards(1)).share * 79.6 - 10


@pytest.mark.parametrize(
    ("config", "weights", "count", "memory_gib", "tensor", "data"),
    [
        (LLAMA_8B, LLAMA_BYTES, 4, 79.6, 1, 4),  # it fits one: copies
        (LLAMA_8B, LLAMA_BYTES, 3, 79.6, 1, 3),
        (LLAMA_8B, LLAMA_BYTES, 2, 15.6, 2, 1),
        (LLAMA_8B, LLAMA_BYTES, 4, 15.6, 2, 2),  # two copies over two each
        (LLAMA_8B, LLAMA_BYTES, 3, 15.6, 2, 1),  # the third is left
        (LLAMA_8B, 141e9, 8, 79.6, 2, 4),  # weights of a 70B
        (LLAMA_8B, 141e9, 4, 47.5, 4, 1),
        (LATENT, 689e9, 8, 139.0, 8, 1),
    ],
)
def test_copies_where_it_fits_one_gpu_and_parts_where_it_does_not(
    config: dict[str, Any], weights: float, count: int, memory_gib: float, tensor: int, data: int
) -> None:
    found = placed(need(config, weights), cards(count, memory_gib))
    assert (found.tensor, found.data) == (tensor, data)
    copies = found.flags[found.flags.index("--tensor-parallel-size") + 2 :]
    assert copies == (["--data-parallel-size", str(data), "--api-server-count", "1"] if data > 1 else [])


def test_parts_must_divide_the_heads() -> None:
    with pytest.raises(InfrastructureError, match="does not fit"):
        placed(need(SMOLLM, 40 * GIB), cards(8, 23.6))  # nine heads are not divided by two
    assert placed(need(SMOLLM, 40 * GIB), cards(9, 23.6), tensor=3).tensor == 3, "the user's choice stands"


def test_what_other_programs_hold_is_left_to_them() -> None:
    wanted = need(LLAMA_8B, LLAMA_BYTES)
    assert 0.3 < placed(wanted, cards(1, 79.6, 30.0)).share <= 29 / 79.6
    with pytest.raises(InfrastructureError, match="Not enough GPU memory to serve acme") as caught:
        placed(wanted, cards(1, 79.6, 10.0))
    assert caught.value.why.endswith("10.0 GiB are free.")
    busy = [*cards(2), *cards(1, 79.6, 10.0), *cards(1)]
    assert placed(wanted, busy).data == 2, "in their order, up to the first that is too full"


def test_the_users_share_is_taken_as_it_is() -> None:
    wanted = need(LLAMA_8B, LLAMA_BYTES)
    assert placed(wanted, cards(1), share=0.6).share == 0.6
    assert placed(wanted, cards(1), share=1.0 - 1 / 79).share == 1.0 - 1 / 79
    with pytest.raises(InfrastructureError, match=r"20% of 79\.6 GiB may be used"):
        placed(wanted, cards(1), share=0.2)
    with pytest.raises(InfrastructureError, match="Not enough GPU memory"):
        placed(wanted, cards(1, 79.6, 40.0), share=0.6)
    assert placed(wanted, cards(2), share=0.2).tensor == 2


def test_a_model_of_unknown_shape_goes_by_its_weights() -> None:
    def unknown(weights_gib: float, gpus: list[Gpu], **wanted: Any) -> Placement:
        return place_unknown("acme", weights_gib, gpus, **({"tensor": None, "share": None} | wanted))

    assert unknown(5, cards(2)) == Placement(1, 1, 0.85)
    assert unknown(100, cards(4)).tensor == 2 and unknown(100, cards(1)).tensor == 1
    assert unknown(5, cards(2), tensor=2, share=0.5) == Placement(2, 1, 0.5)
    with pytest.raises(InfrastructureError, match="Not enough GPU memory"):
        unknown(5, cards(1, 80, 10))
