"""`serve` on the real engine: every layout, a real adapter, real clients, and clients that leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from functools import partial
from typing import Any

import dspy
import httpx
import openai
import pytest
from transformers import AutoTokenizer

from promptstill import ReplyError
from promptstill.engine.models import Model
from promptstill.prompt.layouts import LAYOUTS
from promptstill.prompt.prompt import Prompt
from serving import Client
from tests.support import artifacts
from tests.support.bodies import chat_body
from tests.support.server import KEY, QA, STORY, Server, metric_values, running_requests
from tests.support.waiting import eventually

pytestmark = pytest.mark.e2e


def test_the_models_are_listed_with_their_artifacts(server: Server) -> None:
    models = {model["id"]: model for model in server.get("/v1/models").json()["data"]}
    assert list(models)[-2:] == ["qa-distilled", "smollm2-135m"] and not any("@" in name for name in models)
    card = models["qa_raw-prompt"]["promptstill"]
    assert card["artifact"] == artifacts.qa_prompt("raw").id and card["layout"] == "raw"
    assert card["score"]["mean"] == 0.44 and models["qa-distilled"]["max_model_len"] == 8192
    with Client(server.url, KEY) as client:
        assert [model["id"] for model in client.models()] == list(models)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_engine_gets_the_tokens_of_the_prompt(server: Server, embedded: Model, layout: str) -> None:
    name = f"qa_{layout.replace('-', '_')}"
    prompt = Prompt.load(server.folder / f"{name}.json")
    reply = server.post(chat_body(f"{name}-prompt", QA), **{"X-Request-Id": f"tokens-{name}"})
    assert reply.status_code == 200 and reply.headers["x-request-id"] == f"tokens-{name}"
    recorded = [json.loads(line) for line in (server.folder / "tokens.jsonl").read_text().splitlines()][-1]
    assert recorded["messages"] == prompt.messages(QA)
    tokenizer = AutoTokenizer.from_pretrained(embedded.path)
    if layout == "raw":
        expected = tokenizer(prompt.messages(QA)[0]["content"]).input_ids
    else:
        expected = tokenizer.apply_chat_template(prompt.messages(QA), add_generation_prompt=True, return_dict=False)
    assert recorded["ids"] == expected


def test_replies_name_the_variant_and_its_artifact(server: Server) -> None:
    reply = server.ask("qa-distilled", QA)
    body = reply.json()
    assert body["model"] == reply.headers["x-promptstill-variant"] == "qa-distilled"
    assert body["system_fingerprint"] == f"qa-distilled@{reply.headers['x-promptstill-artifact'][:12]}"


def test_only_the_adapter_changes_the_answers_of_the_base(server: Server) -> None:
    """The log-probability of the first reply token, from a variant and from the base model with the prompt as text."""

    def difference(name: str, prompt: Prompt) -> float:
        ours = server.ask(name, QA, raw=True, logprobs=True).json()["choices"][0]["logprobs"]["content"][0]["logprob"]
        plain = {
            "model": "smollm2-135m",
            "prompt": prompt.messages(QA)[0]["content"],
            "max_tokens": 1,
            "temperature": 0,
        }
        base = server.post(plain | {"logprobs": 1}, "/v1/completions").json()["choices"][0]["logprobs"]
        return abs(float(ours) - float(base["token_logprobs"][0]))

    assert difference("qa_raw-prompt", artifacts.qa_prompt("raw")) < 0.01
    assert difference("qa-distilled", artifacts.student_prompt()) > 0.05


def test_outputs_come_typed(server: Server) -> None:
    with Client(server.url, KEY) as client:
        assert client.ask("feel-prompt", thing="the sun")["feel"] in ("hot", "cold")
        picked = client.ask("pick-prompt", words=["sea", "sky"], limit=9)
    assert isinstance(picked["number"], int) and isinstance(picked["reason"], str)


def test_the_openai_client_works_whole_and_streamed(server: Server) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY) as client:
        messages: Any = chat_body("", QA)["messages"]
        whole = client.chat.completions.create(model="qa_raw-prompt", messages=messages)
        parts = list(client.chat.completions.create(model="qa_raw-prompt", messages=messages, stream=True))
        counted = list(
            client.chat.completions.create(
                model="qa_raw-prompt", messages=messages, stream=True, stream_options={"include_usage": True}
            )
        )
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert text == whole.choices[0].message.content
    assert {part.model for part in parts} == {"qa_raw-prompt"} and not any(part.usage for part in parts)
    assert counted[-1].usage == whole.usage or counted[-1].usage is not None


@pytest.mark.parametrize(
    ("name", "file"),
    [("qa_json-prompt", "qa_json.json"), ("qa_dspy_chat-prompt", "qa_dspy_chat.json"),
     ("qa_chat-prompt", "qa_chat.json"), ("qa-distilled", "distilled/prompt.json")],
)  # fmt: skip
def test_prompt_and_student_answer_in_one_form(server: Server, name: str, file: str) -> None:
    """The value alone, whole and streamed, or else the model's own text, which `raw` gives in any case."""

    def ask(**fields: Any) -> tuple[str, str]:
        create: Any = partial(client.chat.completions.create, model=name, extra_body=fields)
        messages = chat_body("", QA)["messages"]
        parts = list(create(messages=messages, stream=True))
        assert [part.choices[0].finish_reason for part in parts][-1] in ("stop", "length")
        text = "".join(part.choices[0].delta.content or "" for part in parts)
        return create(messages=messages).choices[0].message.content, text

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY) as client:
        own_text, streamed = ask(raw=True)
        assert own_text == streamed
        typed = server.ask(name, QA, parsed=True)
        outputs = None
        with suppress(ReplyError):
            outputs = Prompt.load(server.folder / file).parse(own_text)
        expected = outputs["answer"] if outputs else own_text
        assert ask() == (expected, expected)
        assert typed.status_code == (200 if outputs else 422)
        assert not outputs or json.loads(typed.json()["choices"][0]["message"]["content"]) == outputs


def test_dspy_works(server: Server) -> None:
    lm = dspy.LM("openai/qa_raw-prompt", api_base=f"{server.url}/v1", api_key=KEY, cache=False)
    (answer,) = lm(json.dumps(QA))
    assert (
        isinstance(answer, str) and answer == server.ask("qa_raw-prompt", QA).json()["choices"][0]["message"]["content"]
    )


def test_the_snippets_work_as_pasted(server: Server) -> None:
    curl = server.printed[server.printed.index("curl ") : server.printed.index("import json")]
    python = server.printed[server.printed.index("import json") :]
    env = {**os.environ, "VLLM_API_KEY": KEY}
    curl_run = subprocess.run(["bash", "-c", curl], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(curl_run.stdout)["model"] == "qa_chat-prompt"
    python_run = subprocess.run(
        [sys.executable, "-c", python], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert python_run.returncode == 0 and python_run.stdout.strip(), python_run.stderr


def test_the_fixed_part_of_the_prompt_is_cached(server: Server, embedded: Model) -> None:
    """Two requests share only the prompt: the cached tokens cover its fixed part, but for a block of 32 tokens."""
    first, second = ({"context": f"Nr {n} stands here.", "question": f"Which number? {n}"} for n in (417, 928))
    server.ask("qa_raw-prompt", first)
    usage = server.ask("qa_raw-prompt", second).json()["usage"]
    tokenizer = AutoTokenizer.from_pretrained(embedded.path)
    texts = [artifacts.qa_prompt("raw").messages(inputs)[0]["content"] for inputs in (first, second)]
    shared = next(n for n, pair in enumerate(zip(*texts, strict=False)) if len(set(pair)) > 1)
    fixed = len(tokenizer(texts[0][:shared]).input_ids)
    assert usage["prompt_tokens_details"]["cached_tokens"] >= fixed - 32 > 64


def test_the_base_is_stock_vllm(server: Server) -> None:
    hello: Any = {"model": "smollm2-135m", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user",
                  "content": "Say hello."}], "max_tokens": 4, "temperature": 0}  # fmt: skip
    assert server.post(hello).json()["model"] == "smollm2-135m"
    done = server.post(
        {"model": "smollm2-135m", "prompt": "The capital of France is", "max_tokens": 2}, "/v1/completions"
    )
    assert "Paris" in done.json()["choices"][0]["text"]
    assert server.post({"model": "smollm2-135m", "prompt": "a b"}, "/tokenize").json()["count"] == 2


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_the_engine(server: Server, stream: bool) -> None:
    body = chat_body("story-prompt", STORY, stream=stream)
    counter = 'promptstill_errors_total{kind="disconnected",variant="story-prompt"}'
    before = metric_values(server).get(counter, 0)
    headers = {"Authorization": f"Bearer {KEY}"}
    if stream:
        with httpx.stream(
            "POST", f"{server.url}/v1/chat/completions", json=body, headers=headers, timeout=60, trust_env=False
        ) as reply:
            next(reply.iter_lines())
            assert eventually(lambda: running_requests(server) == 1)
    else:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=headers, timeout=2, trust_env=False)
    assert eventually(lambda: running_requests(server) == 0, 10)
    log = next((server.folder / "runs").glob("serve-*/access.jsonl"))
    assert eventually(lambda: json.loads(log.read_text().splitlines()[-1]).get("error") == "disconnected")
    assert metric_values(server)[counter] == before + 1


def test_metrics_come_after_vllms_own(server: Server) -> None:
    before = metric_values(server)
    for _ in range(2):
        assert server.ask("qa_raw-prompt", QA).status_code == 200
    after = metric_values(server)
    requests = 'promptstill_requests_total{variant="qa_raw-prompt"}'
    cached = 'promptstill_cached_prompt_tokens_total{variant="qa_raw-prompt"}'
    assert after[requests] == before[requests] + 2 and after[cached] > before[cached] + 64
    ours = [name.startswith("promptstill_") for name in after]
    assert ours == sorted(ours) and any(name.startswith("vllm:") for name in after)
