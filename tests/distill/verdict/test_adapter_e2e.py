"""Adapters of the embedded model in a real vLLM: the check finds the live one live and the dead ones dead."""

from __future__ import annotations

import asyncio
import sys
import warnings
from pathlib import Path

import pytest

from distill.train.encode import Encoder, encode_examples
from distill.train.hyper import HyperParameters
from distill.train.job import DevSet, TrainingJob
from distill.train.loop import train
from distill.train.weights import load_tokenizer
from distill.verdict.adapter_check import (
    TOLERANCE,
    AdapterCheck,
    EngineTokens,
    ask_tokens,
    compare_logprobs,
    peft_logprobs,
)
from promptstill.endpoint.endpoint import Endpoint
from promptstill.engine.models import EMBEDDED, Model, find_model
from promptstill.engine.vllm import Adapters, running_engine
from promptstill.prompt.prompt import Prompt
from tests.distill.verdict.adapters import copy_adapter, rename_layers, zero_b
from tests.support import tiny
from tests.support.terminal import tell

INPUTS = [{"text": f"the {word} {place}"} for word, place in tiny.pairs()[::11]]


def small_training(model: Model, prompt: Prompt, folder: Path) -> Path:
    """Six updates on the tiny task: enough to change every answer."""
    encoder = Encoder(load_tokenizer(model), prompt)
    rows, _ = encode_examples(encoder, tiny.examples(prompt, tiny.pairs()[:48]), 8192)
    dev = DevSet([rows[0].prompt], prompt.decoding, lambda texts: 0.5)
    hyper = HyperParameters(r=8, epochs=1, batch=8, lr=1e-3)
    train(TrainingJob(model, rows, dev, hyper, folder / "work"), folder / "adapter", lambda progress: None)
    return folder / "adapter"


def check(model: Model, adapter: Path, probes: list[EngineTokens]) -> AdapterCheck:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT warns of the adapter whose modules are not there
        on, off = peft_logprobs(model, adapter, probes)
    found = compare_logprobs([one.logprobs for one in probes], on, off, TOLERANCE["fp32"])
    print(f"{adapter.name}: {found.state}. {found}", file=sys.stderr)
    return found


@pytest.mark.slow
@pytest.mark.e2e
def test_vllm_serves_the_live_adapter_and_dead_ones_are_caught(tmp_path: Path) -> None:
    model = find_model(EMBEDDED, tell)
    raw, chat = tiny.prompt("raw"), tiny.prompt("chat")
    live = small_training(model, raw, tmp_path)
    silent = copy_adapter(live, tmp_path / "silent", zero_b)
    lost = copy_adapter(live, tmp_path / "lost", rename_layers)
    served = Adapters({"live": live, "silent": silent, "lost": lost}, rank=8)

    with running_engine(model, tmp_path / "engine.log", tell, adapters=served) as engine:
        endpoint = Endpoint(engine.base_url, "weights")
        names = ("live", "silent", "lost", model.name)
        answers = {name: asyncio.run(ask_tokens(endpoint, name, raw, INPUTS)) for name in names}
        chatted = asyncio.run(ask_tokens(endpoint, "live", chat, INPUTS))

    assert check(model, live, answers["live"]).state == "live"
    assert check(model, silent, answers["silent"]).state == "dead"
    # What counts for the wrong prefix is what vLLM does with it: it serves the base under the adapter's name.
    assert check(model, lost, answers["lost"]).state == "dead"
    assert check(model, live, answers["lost"]).state == "dead"
    assert [one.text for one in answers["lost"]] == [one.text for one in answers[model.name]]
    assert sum(a.text != b.text for a, b in zip(answers["live"], answers[model.name], strict=True)) >= 6

    for prompt, probes in ((raw, answers["live"]), (chat, chatted)):
        encoder = Encoder(load_tokenizer(model), prompt)
        assert [one.prompt for one in probes] == [encoder.prompt_ids(prompt.messages(row)) for row in INPUTS]
