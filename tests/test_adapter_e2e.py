"""Adapters of the embedded model in a real vLLM: the live one is found live, the dead ones dead."""

from __future__ import annotations

import asyncio
import sys
import warnings
from pathlib import Path

import pytest

from distill.adapter import check_adapter
from distill.encode import Encoder, encode
from distill.hyper import Hyper
from distill.job import Dev, Job
from distill.logprobs import TOLERANCE, Liveness, Spoken, ask, compare_logprobs, peft_logprobs
from distill.train import train
from distill.weights import load_tokenizer
from optimizer.engine import Adapters, running
from optimizer.errors import UserError
from optimizer.models import EMBEDDED, Model, resolve
from optimizer.prompt import Prompt
from tests import tiny
from tests.conftest import tell
from tests.test_distill_adapter import copy, elsewhere, zero

INPUTS = [{"text": f"the {word} {place}"} for word, place in tiny.pairs()[::11]]


def small_training(model: Model, prompt: Prompt, folder: Path) -> Path:
    """Six updates on the tiny task: enough to change every answer."""
    encoder = Encoder(load_tokenizer(model), prompt)
    rows, _ = encode(encoder, tiny.lessons(prompt, tiny.pairs()[:48]), 8192)
    dev = Dev([rows[0].prompt], prompt.decoding, lambda texts: 0.5)
    hyper = Hyper(r=8, epochs=1, batch=8, lr=1e-3)
    train(Job(model, rows, dev, hyper, folder / "work"), folder / "adapter", lambda progress: None)
    return folder / "adapter"


def judge(model: Model, adapter: Path, spoken: list[Spoken]) -> Liveness:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT warns of the adapter whose modules are not there
        on, off = peft_logprobs(model, adapter, spoken)
    found = compare_logprobs([one.logprobs for one in spoken], on, off, TOLERANCE["fp32"])
    print(f"{adapter.name}: {found.state}. {found}", file=sys.stderr)
    return found


@pytest.mark.e2e
def test_vllm_serves_the_live_adapter_and_dead_ones_are_caught(tmp_path: Path) -> None:
    model = resolve(EMBEDDED, tell)
    raw, chat = tiny.prompt("raw"), tiny.prompt("chat")
    live = small_training(model, raw, tmp_path)
    silent, lost = copy(live, tmp_path / "silent", zero), copy(live, tmp_path / "lost", elsewhere)
    assert check_adapter(live, model) == 8
    for dead in (silent, lost):
        with pytest.raises(UserError, match="cannot be served"):
            check_adapter(dead, model)
    served = Adapters({"live": live, "silent": silent, "lost": lost}, rank=8)

    with running(model, tmp_path / "engine.log", tell, adapters=served) as engine:
        names = ("live", "silent", "lost", model.name)
        answers = {name: asyncio.run(ask(engine.base_url, name, raw, INPUTS)) for name in names}
        chatted = asyncio.run(ask(engine.base_url, "live", chat, INPUTS))

    assert judge(model, live, answers["live"]).state == "live"
    assert judge(model, silent, answers["silent"]).state == "dead"
    # What counts for the wrong prefix is what vLLM does with it: it serves the base under the adapter's name.
    assert judge(model, lost, answers["lost"]).state == "dead"
    assert judge(model, live, answers["lost"]).state == "dead"
    assert [one.text for one in answers["lost"]] == [one.text for one in answers[model.name]]
    assert sum(a.text != b.text for a, b in zip(answers["live"], answers[model.name], strict=True)) >= 6

    for prompt, spoken in ((raw, answers["live"]), (chat, chatted)):
        encoder = Encoder(load_tokenizer(model), prompt)
        assert [one.prompt for one in spoken] == [encoder.prompt_ids(prompt.messages(row)) for row in INPUTS]
