"""How much of a GPU's memory a model needs, and over how many GPUs it is spread. Pure functions of numbers.

An engine holds the weights, the KV cache (layers × values × bytes for each token), and room for activations, sampling,
CUDA graphs and CUDA itself. The cache is as large as the requests in flight need, no larger: other work, a training
say, may use the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from promptstill.engine.gpus import GIB, Gpu
from promptstill.engine.shape import ModelShape
from promptstill.errors import InfrastructureError

MOST_SEQUENCES = 256  # requests that one engine works on at once
EXPECTED_CONTEXT = 2048  # tokens of one request, its reply included: demos take up to some 1,536
LIMIT = 0.92  # of a GPU: more leaves too little for what CUDA and the driver take unasked
MARGIN = 1.1
CUDA_GIB, GRAPHS_GIB = 1.0, 1.0  # CUDA's own context with its libraries; captured graphs
UNKNOWN_SHARE, UNKNOWN_WEIGHTS = 0.85, 0.7  # of a GPU, for a model of a shape that is not known


@dataclass(frozen=True)
class EngineNeed:
    """What an engine is to hold. weights: bytes. window: requests in flight. kv_bytes: of one number in the cache."""

    weights: int
    shape: ModelShape
    context: int
    window: int
    sequences: int = MOST_SEQUENCES
    kv_bytes: int = 2

    def token_gib(self, parallel: int) -> float:
        """What one token takes in the KV cache of one of `parallel` GPUs: its share of the heads, one at the least."""
        shape = self.shape
        share = 1.0 if shape.latent else max(1 / shape.kv_heads, 1 / parallel)
        return shape.layers * shape.values * share * self.kv_bytes / GIB

    def room_gib(self, parallel: int, batched: int) -> float:
        """Everything but weights and cache. batched: tokens that one step takes."""
        shape = self.shape
        activations = batched * (6 * shape.hidden + 3 * shape.inner / parallel) * 2
        logits = self.sequences * shape.vocabulary * 12  # float32, with the copies that sampling makes
        return CUDA_GIB + GRAPHS_GIB + (activations + logits) / GIB

    def least_gib(self, parallel: int, batched: int) -> float:
        """With a cache for one whole context, without which vLLM does not start."""
        fixed = self.weights / GIB / parallel + self.room_gib(parallel, batched)
        return fixed + self.context * self.token_gib(parallel)

    def wished_gib(self, parallel: int, batched: int) -> float:
        """With a cache for all requests in flight, and a margin."""
        tokens = max(self.context, self.window * min(EXPECTED_CONTEXT, self.context))
        fixed = self.weights / GIB / parallel + self.room_gib(parallel, batched)
        return MARGIN * (fixed + tokens * self.token_gib(parallel))


@dataclass(frozen=True)
class Placement:
    """Where an engine goes. tensor: GPUs that share one copy of the model. data: copies. share: of each GPU."""

    tensor: int
    data: int
    share: float

    @property
    def flags(self) -> list[str]:
        """vLLM's arguments for it. Copies answer behind one API server, which counts requests for all."""
        copies = ["--data-parallel-size", str(self.data), "--api-server-count", "1"] if self.data > 1 else []
        memory = ["--gpu-memory-utilization", f"{self.share:g}"]
        return [*memory, "--tensor-parallel-size", str(self.tensor), *copies]


def batched_tokens(memory_gib: float) -> int:
    """The tokens that vLLM (0.32) takes in one step by default."""
    return 16_384 if memory_gib >= 160 else 8192 if memory_gib >= 70 else 2048


def powers_of_two(most: int, heads: int) -> Iterable[int]:
    """1, 2, 4, … up to `most`, as far as they divide the heads."""
    return takewhile(lambda n: n <= most and heads % n == 0, (2**power for power in range(16)))


def place(name: str, need: EngineNeed, gpus: Sequence[Gpu], *, tensor: int | None, share: float | None) -> Placement:
    """Over how few GPUs the model goes, and how many copies of it then fit; equal parts of each.

    tensor, share: as the user wants them. GPUs are taken in their order, up to the first that is too full. Raises
    `InfrastructureError` with the numbers where nothing fits.
    """
    memory = min(gpu.memory_gib for gpu in gpus)
    batched, limit = batched_tokens(memory), share or LIMIT
    sizes = [tensor] if tensor else list(powers_of_two(len(gpus), need.shape.heads))
    least = {size: need.least_gib(size, batched) for size in sizes}
    size = next((one for one in sizes if least[one] <= limit * memory), None)
    if size is None or size > len(gpus):
        raise too_large(name, need, sizes[-1], memory, len(gpus), share)
    wanted = share * memory if share else least[size] + CUDA_GIB
    ready = list(takewhile(lambda gpu: gpu.free_gib >= wanted, gpus))
    if len(ready) < size:
        raise too_full(name, wanted, gpus[len(ready)].free_gib)
    copies = len(ready) // size
    free = min(gpu.free_gib for gpu in ready[: copies * size]) - CUDA_GIB
    most = min(LIMIT, free / memory)
    fitting = min(most, need.wished_gib(size, batched) / memory)
    return Placement(size, copies, share or round_up(max(fitting, least[size] / memory), most))


def place_unknown(
    name: str, weights_gib: float, gpus: Sequence[Gpu], *, tensor: int | None, share: float | None
) -> Placement:
    """The same for a model whose shape is not known: by its weights alone, with most of each GPU, and no copies."""
    smallest = min(gpu.memory_gib for gpu in gpus)
    size = tensor or 1
    while not tensor and size * 2 <= len(gpus) and weights_gib > UNKNOWN_WEIGHTS * smallest * size:
        size *= 2
    wanted = (share or UNKNOWN_SHARE) * smallest
    for gpu in gpus[:size]:
        if gpu.free_gib < wanted:
            raise too_full(name, wanted, gpu.free_gib)
    return Placement(size, 1, share or UNKNOWN_SHARE)


def round_up(share: float, most: float) -> float:
    """To two digits, but never above `most`."""
    return min(math.ceil(100 * share) / 100, math.floor(1000 * most) / 1000)


def too_large(
    name: str, need: EngineNeed, size: int, memory: float, count: int, share: float | None
) -> InfrastructureError:
    """The refusal of a model that no division makes fit, with the numbers of the widest."""
    batched = batched_tokens(memory)
    cache, weights = need.context * need.token_gib(size), need.weights / GIB / size
    spread = f"over {size} GPUs, each" if size > 1 else "on one GPU, it"
    allowed = f"{share or LIMIT:.0%} of {memory:.1f} GiB"
    return InfrastructureError(
        f"{name} does not fit into GPU memory.",
        f"Spread {spread} would hold {weights:.1f} GiB of weights, {cache:.1f} GiB of KV cache for one context of "
        f"{need.context:,} tokens and {need.room_gib(size, batched):.1f} GiB for the rest; {allowed} may be used"
        f"{f', and there are {count}' if count > 1 else ''}.",
        "Take a smaller or a quantized model, or a shorter context: --vllm-args '--max-model-len 4096'",
    )


def too_full(name: str, wanted: float, free: float) -> InfrastructureError:
    """The refusal where other programs hold the memory."""
    return InfrastructureError(
        f"Not enough GPU memory to serve {name}.",
        f"It needs about {wanted:.1f} GiB; {free:.1f} GiB are free.",
        "End other programs that hold memory, choose another GPU with CUDA_VISIBLE_DEVICES, or a smaller model.",
    )
