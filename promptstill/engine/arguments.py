"""The user's own arguments for vLLM (`--vllm-args`), as a shell would read them. What must not change is refused.

They stand behind the arguments of our own, so that they overrule them: vLLM takes the last of two.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise

from promptstill.errors import UserError

ADDRESS = "The server's address is what requests are sent to"
ONE_SERVER = "One server answers, at one address"
# What our own code sets, and why it stays.
OURS = {
    "--model": "The model is named by --model of this command",
    "--served-model-name": "Requests name the model by what files and reports call it",
    **dict.fromkeys(("--host", "--port", "--uds", "--root-path"), ADDRESS),
    **dict.fromkeys(("--ssl-keyfile", "--ssl-certfile"), "The server is asked by plain HTTP; put a proxy before it"),
    "--generation-config": "Requests state their decoding in full; other defaults would change replies silently",
    "--trust-request-chat-template": "The layout raw needs it; it is set",
    "--no-trust-request-chat-template": "The layout raw needs it",
    "--no-enable-prompt-tokens-details": "Reports count cached tokens by it",
    "--lora-modules": "Adapters are loaded from the folders that distill wrote",
    "--no-enable-lora": "Adapters are loaded where there are any",
    "--config": "A file could set any of these",
    **dict.fromkeys(("--headless", "--grpc", "--api-server-count", "-asc", "--data-parallel-rank", "-dpn"), ONE_SERVER),
    **dict.fromkeys(("--data-parallel-external-lb", "-dpe", "--data-parallel-hybrid-lb", "-dph"), ONE_SERVER),
    **dict.fromkeys(("--data-parallel-multi-port-external-lb", "-dpm"), ONE_SERVER),
}
# What a best.json from elsewhere may ask for: it changes sizes and numbers, and loads nothing.
HARMLESS = {
    *("--dtype", "--quantization", "-q", "--kv-cache-dtype", "--max-model-len", "--max-num-seqs", "--seed"),
    *("--max-num-batched-tokens", "--block-size", "--enforce-eager", "--cpu-offload-gb"),
    *("--tensor-parallel-size", "-tp", "--pipeline-parallel-size", "-pp", "--data-parallel-size", "-dp"),
    *("--gpu-memory-utilization", "--kv-cache-memory-bytes", "--enable-chunked-prefill", "--no-enable-chunked-prefill"),
    *("--enable-prefix-caching", "--no-enable-prefix-caching", "--disable-custom-all-reduce", "--optimization-level"),
}


def split_arguments(text: str) -> tuple[str, ...]:
    """The words of `--vllm-args`. Raises `UserError` for what a shell could not read, a key, and what is ours."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"--vllm-args cannot be read: {error}.", "", "Quote it as in a shell.") from error
    if words and not words[0].startswith("-"):
        raise UserError(
            f"--vllm-args begins with {words[0]}, which is no option.",
            "vLLM would take it for the model.",
            "Begin with an option, as in: --vllm-args '--max-num-seqs 16'",
        )
    for word in words:
        if word.startswith("-"):
            _refuse(_option(word))
    return words


def check_engine(vllm_args: str, gpu_memory: float | None) -> None:
    """Refuse what no engine could be started with. Raises `UserError`."""
    split_arguments(vllm_args)
    if gpu_memory is not None and not 0 < gpu_memory <= 1:
        raise UserError(f"gpu_memory is {gpu_memory}.", "It is the share of each GPU.", "Choose 1 or less, above 0.")


def value_of(words: Sequence[str], *names: str) -> str | None:
    """The value of the last of these options among the words; None where there is none."""
    found = None
    for word, following in pairwise((*words, "")):
        if _option(word) in names:
            found = word.partition("=")[2] if "=" in word else following
    return found


def recorded_arguments(text: str, where: str) -> str:
    """The arguments that the file `where` records, for use. Raises `UserError` for those that could load code."""
    words = split_arguments(text)
    options = [_option(word) for word in words if word.startswith("-")]
    values = [word.partition("=")[2] if word.startswith("-") else word for word in words]
    if all(name in HARMLESS for name in options) and all(re.fullmatch(r"[\w.:-]*", value) for value in values):
        return text
    raise UserError(
        f"{where} was made with arguments for vLLM that are not taken from a file.",
        "They may load code or files, and the file may come from elsewhere.",
        f"If you trust them, give them yourself: --vllm-args {shlex.quote(text)}",
    )


def _option(word: str) -> str:
    """The option's name as vLLM reads it: without its value, with dashes for underscores."""
    name = word.partition("=")[0]
    return name.replace("_", "-") if name.startswith("--") else name


def _refuse(name: str) -> None:
    # vLLM takes the beginning of an option's name for the option.
    if len(name) > len("--") and "--api-key".startswith(name):
        raise UserError(
            "A key in --vllm-args is refused.",
            "It would show in `ps` and in engine.log, and the server's own check would not know it.",
            "serve takes a key by VLLM_API_KEY or --api-key-file FILE.",
        )
    shortened = (own for own in OURS if name.startswith("--") and len(name) > len("--") and own.startswith(name))
    if ours := name if name in OURS else next(shortened, None):
        raise UserError(f"{ours} in --vllm-args is refused.", f"{OURS[ours]}.", "Leave it out.")
