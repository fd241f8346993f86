"""Whether an endpoint serves the adapter: the comparison, and the requests."""

from __future__ import annotations

import asyncio
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distill.train.adapter import load_adapter
from distill.train.loop import train
from distill.train.weights import load_base
from distill.verdict.adapter_check import (
    EngineTokens,
    ask_tokens,
    compare_logprobs,
    peft_logprobs,
    probe_body,
    read_tokens,
)
from promptstill.endpoint.endpoint import Endpoint
from promptstill.engine.models import Model
from promptstill.errors import InfrastructureError
from tests.distill.verdict.adapters import copy_adapter, rename_layers, zero_b
from tests.support import tiny
from tests.support.fake import FakeEndpoint

ON, OFF = [[-0.1, -0.2], [-0.3]], [[-2.0, -0.2], [-4.0]]


def test_an_engine_that_agrees_with_the_adapter_is_live() -> None:
    found = compare_logprobs([[-0.101, -0.2], [-0.3]], ON, OFF, 0.01)
    assert found.state == "live" and found.tokens == 3
    assert found.difference_from_adapter == pytest.approx(0.001) and found.difference_from_base == pytest.approx(3.7)
    assert found.sentence == (
        "The endpoint serves the adapter, as it should. On 3 tokens its log-probabilities differ by up to 0.001 from "
        "PEFT's with the adapter, by up to 3.7 from PEFT's without it; up to 0.01 counts as equal."
    )


def test_equal_log_probabilities_are_described_in_words() -> None:
    found = compare_logprobs(ON, ON, OFF, 0.01)
    assert "differ by less than 0.0001 from PEFT's with the adapter, by up to 3.7 from" in found.sentence


def test_an_engine_that_answers_as_the_base_is_dead() -> None:
    assert compare_logprobs(OFF, ON, OFF, 0.01).state == "dead"


def test_an_adapter_that_changes_nothing_is_dead_whatever_the_engine_says() -> None:
    assert compare_logprobs(ON, ON, ON, 0.01).state == "dead"


def test_an_engine_that_agrees_with_neither_differs() -> None:
    assert compare_logprobs([[-1.0, -0.2], [-0.3]], ON, OFF, 0.01).state == "differs"


def test_lists_of_other_shapes_are_no_comparison() -> None:
    with pytest.raises(ValueError, match="zip"):
        compare_logprobs([[-1.0], [-0.3]], ON, OFF, 0.01)
    with pytest.raises(ValueError, match="empty"):
        compare_logprobs([], [], [], 0.01)


def test_peft_distinguishes_live_from_dead_adapters(tmp_path: Path) -> None:
    base = tiny.model(tmp_path / "model")
    job = tiny.job(base, tmp_path / "work", replace(tiny.HYPER, epochs=1))
    train(job, tmp_path / "adapter", lambda progress: None)
    probes = [EngineTokens(row.prompt, row.completion, (), "") for row in job.rows[:6]]
    on, off = peft_logprobs(base, tmp_path / "adapter", probes)
    assert compare_logprobs(on, on, off, 0.01).state == "live"
    assert compare_logprobs(off, on, off, 0.01).state == "dead"
    silent, plain = peft_logprobs(base, copy_adapter(tmp_path / "adapter", tmp_path / "zero", zero_b), probes)
    assert plain == off and compare_logprobs(silent, silent, plain, 0.01).state == "dead"


def test_in_peft_too_a_wrong_prefix_loads_nothing(tmp_path: Path) -> None:
    base = tiny.model(tmp_path / "model")
    job = tiny.job(base, tmp_path / "work", replace(tiny.HYPER, epochs=1))
    train(job, tmp_path / "adapter", lambda progress: None)
    lost = copy_adapter(tmp_path / "adapter", tmp_path / "lost", rename_layers)
    probes = [EngineTokens(row.prompt, row.completion, (), "") for row in job.rows[:6]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        on, off = peft_logprobs(base, lost, probes)
    assert compare_logprobs(on, on, off, 0.01).state == "dead"


def test_cached_generation_and_one_pass_agree(tmp_path: Path) -> None:
    """Log-probabilities from `generate`, which decodes token by token, are those of one pass over the whole text."""
    base = tiny.model(tmp_path / "model")
    job = tiny.job(base, tmp_path / "work", replace(tiny.HYPER, epochs=1))
    train(job, tmp_path / "adapter", lambda progress: None)
    adapted = load_adapter(load_base(base, "fp32", torch.device("cpu")), tmp_path / "adapter")
    probes = []
    assert job.dev
    for prompt in job.dev.prompts[:4]:
        ids = torch.tensor([list(prompt)])
        out = adapted.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False,
                               output_logits=True, return_dict_in_generate=True, pad_token_id=0)  # fmt: skip
        tokens = out.sequences[0, ids.shape[1] :].tolist()
        values = [float(step.log_softmax(-1)[0, token]) for step, token in zip(out.logits, tokens, strict=True)]
        probes.append(EngineTokens(tuple(prompt), tuple(tokens), tuple(values), ""))
    on, off = peft_logprobs(base, tmp_path / "adapter", probes)
    found = compare_logprobs([one.logprobs for one in probes], on, off, 0.001)
    assert found.state == "live", found


def test_a_probe_is_the_prompts_request_without_grammar() -> None:
    body = probe_body("student", tiny.prompt("raw", structured={"choice": [" warm"]}), {"text": "the red sea"})
    assert body["messages"] == [{"role": "user", "content": "Text: the red sea\nHue:"}]
    assert body["add_special_tokens"] is True and "chat_template" in body
    assert (body["model"], body["logprobs"], body["return_token_ids"]) == ("student", True, True)
    assert not {"structured_outputs", "stop"} & body.keys()


def test_vllms_answer_is_read() -> None:
    choice = {"message": {"content": " cold"}, "token_ids": [7, 2]}
    content = [{"token": " cold", "logprob": -0.5}, {"token": "", "logprob": -0.1}]
    answer = {"choices": [choice | {"logprobs": {"content": content}}], "prompt_token_ids": [1, 5]}
    assert read_tokens(answer) == EngineTokens((1, 5), (7, 2), (-0.5, -0.1), " cold")
    with pytest.raises(ValueError, match="2 tokens but 1 log-probabilities"):
        read_tokens({**answer, "choices": [choice | {"logprobs": {"content": content[:1]}}]})


async def probe(fake: FakeEndpoint) -> list[EngineTokens]:
    return await ask_tokens(Endpoint(fake.base_url, "w"), "student", tiny.prompt("raw"), [{"text": "the red sea"}])


def test_an_endpoint_without_log_probabilities_is_named() -> None:
    with FakeEndpoint() as fake, pytest.raises(InfrastructureError) as caught:
        asyncio.run(probe(fake))
    assert caught.value.what == f"The endpoint {fake.base_url} gave no log-probabilities for student."


def test_an_endpoint_on_this_machine_is_asked_past_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    with FakeEndpoint() as fake, pytest.raises(InfrastructureError, match="gave no log-probabilities"):
        asyncio.run(probe(fake))
    assert len(fake.bodies) == 1


def test_the_tiny_base_is_loadable_by_name(tmp_path: Path) -> None:
    base = tiny.model(tmp_path)
    assert load_base(Model("x", base.path, None), "bf16", torch.device("cpu")).dtype == torch.bfloat16
