"""`serve` on the real engine: every layout, a real adapter, real clients, and what happens when it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy
import httpx
import openai
import psutil
import pytest
from hypothesis import HealthCheck, assume, given, settings
from transformers import AutoTokenizer

from optimizer.models import Model, resolve
from optimizer.prompt import Layout, Prompt
from serving import Client
from tests import artifacts, bodies, inside
from tests.conftest import tell

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[1]
KEY = "sesame"
LAYOUTS: tuple[Layout, ...] = ("chat", "inline", "raw", "dspy-chat", "json")
QA = {"context": "The tower was built in 1931 by Ann Lee {answer} <|im_end|>.", "question": "When was it built?"}
TALE = {"context": "Once there was a ship.", "question": "Tell a very long story about it."}


@dataclass
class Server:
    """A running `serve`: its process, address and what it printed."""

    process: subprocess.Popen[str]
    url: str
    printed: str
    folder: Path

    def post(self, body: dict[str, Any], path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
        everything = {"Authorization": f"Bearer {KEY}"} | headers
        return httpx.post(f"{self.url}{path}", json=body, headers=everything, timeout=120, trust_env=False)

    def ask(self, model: str, inputs: dict[str, Any], **fields: Any) -> httpx.Response:
        return self.post(asking(model, inputs, **fields))

    def get(self, path: str, key: str | None = KEY) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=30, trust_env=False)

    def tree(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


def asking(model: str, inputs: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": json.dumps(inputs)}], **fields}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(folder: Path, *arguments: str) -> Server:
    """`python -m serving …` in `folder`, once it has printed its snippets."""
    port = free_port()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "VLLM_API_KEY": KEY, inside.SEEN_VARIABLE: str(folder / "seen.jsonl")}
    argv = [sys.executable, "-m", "serving", *arguments, "--port", str(port)]
    with (folder / "stderr.log").open("w") as log:
        process = subprocess.Popen(argv, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("print("):
            return Server(process, f"http://127.0.0.1:{port}", "".join(lines), folder)
    pytest.fail(f"serve ended: {(folder / 'stderr.log').read_text()}")


def finish(server: Server) -> None:
    server.process.terminate()
    server.process.wait(60)
    assert server.process.stdout is not None
    server.process.stdout.close()


@pytest.fixture(scope="module")
def model() -> Model:
    return resolve("smollm2-135m", tell)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Iterator[Server]:
    """Every layout, typed tasks and a distilled student behind one engine."""
    folder = tmp_path_factory.mktemp("served")
    prompts = {f"qa_{name.replace('-', '_')}": artifacts.qa_prompt(name) for name in LAYOUTS}
    prompts |= {"feel": artifacts.feel_prompt(), "pick": artifacts.pick_prompt(), "tale": artifacts.tale_prompt()}
    paths = [artifacts.write_best(folder / f"{n}.json", n, p, model.sha256) for n, p in prompts.items()]
    student = artifacts.write_distilled(folder / "distilled", "qa", artifacts.student_prompt(), model)
    server = start(
        folder, *map(str, paths), "--adapter", str(student), "--vllm-args", "--middleware tests.inside.Tokens"
    )
    yield server
    finish(server)


def test_the_models_are_listed_with_what_they_are(server: Server) -> None:
    models = {model["id"]: model for model in server.get("/v1/models").json()["data"]}
    assert list(models)[-2:] == ["qa-distilled", "smollm2-135m"] and not any("@" in name for name in models)
    card = models["qa_raw-prompt"]["promptstill"]
    assert card["artifact"] == artifacts.qa_prompt("raw").id and card["layout"] == "raw"
    assert card["score"]["mean"] == 0.44 and models["qa-distilled"]["max_model_len"] == 8192
    with Client(server.url, KEY) as client:
        assert [model["id"] for model in client.models()] == list(models)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_engine_gets_the_tokens_of_the_prompt(server: Server, model: Model, layout: str) -> None:
    name = f"qa_{layout.replace('-', '_')}"
    prompt = Prompt.load(server.folder / f"{name}.json")
    reply = server.post(asking(f"{name}-prompt", QA), **{"X-Request-Id": f"tokens-{name}"})
    assert reply.status_code == 200 and reply.headers["x-request-id"] == f"tokens-{name}"
    seen = [json.loads(line) for line in (server.folder / "seen.jsonl").read_text().splitlines()][-1]
    assert seen["messages"] == prompt.messages(QA)
    tokenizer = AutoTokenizer.from_pretrained(model.path)
    if layout == "raw":
        expected = tokenizer(prompt.messages(QA)[0]["content"]).input_ids
    else:
        expected = tokenizer.apply_chat_template(prompt.messages(QA), add_generation_prompt=True, return_dict=False)
    assert seen["ids"] == expected


def test_replies_name_the_variant_and_its_artifact(server: Server) -> None:
    reply = server.ask("qa-distilled", QA)
    body = reply.json()
    assert body["model"] == reply.headers["x-promptstill-variant"] == "qa-distilled"
    assert body["system_fingerprint"] == f"qa-distilled@{reply.headers['x-promptstill-artifact'][:12]}"


def test_only_the_adapter_makes_the_base_answer_otherwise(server: Server) -> None:
    """The first reply token's log-probability, asked as a variant and as plain text of the base."""

    def apart(name: str, prompt: Prompt) -> float:
        ours = server.ask(name, QA, logprobs=True).json()["choices"][0]["logprobs"]["content"][0]["logprob"]
        plain = {
            "model": "smollm2-135m",
            "prompt": prompt.messages(QA)[0]["content"],
            "max_tokens": 1,
            "temperature": 0,
        }
        base = server.post(plain | {"logprobs": 1}, "/v1/completions").json()["choices"][0]["logprobs"]
        return abs(float(ours) - float(base["token_logprobs"][0]))

    assert apart("qa_raw-prompt", artifacts.qa_prompt("raw")) < 0.01
    assert apart("qa-distilled", artifacts.student_prompt()) > 0.05


def test_outputs_come_typed(server: Server) -> None:
    with Client(server.url, KEY) as client:
        assert client.ask("feel-prompt", thing="the sun")["feel"] in ("hot", "cold")
        picked = client.ask("pick-prompt", words=["sea", "sky"], limit=9)
    assert isinstance(picked["number"], int) and isinstance(picked["reason"], str)


def test_the_openai_client_works_whole_and_streamed(server: Server) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY) as client:
        messages: Any = asking("", QA)["messages"]
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
    done = subprocess.run(["bash", "-c", curl], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["model"] == "qa_chat-prompt"
    said = subprocess.run(
        [sys.executable, "-c", python], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert said.returncode == 0 and said.stdout.strip(), said.stderr


def test_the_fixed_part_of_the_prompt_is_cached(server: Server) -> None:
    """Two requests that share only the prompt: what is cached covers its fixed part, up to a block of 32 tokens."""
    first, second = ({"context": f"Nr {n} stands here.", "question": f"Which number? {n}"} for n in (417, 928))
    server.ask("qa_raw-prompt", first)
    usage = server.ask("qa_raw-prompt", second).json()["usage"]
    tokenizer = AutoTokenizer.from_pretrained(resolve("smollm2-135m", tell).path)
    texts = [artifacts.qa_prompt("raw").messages(inputs)[0]["content"] for inputs in (first, second)]
    shared = next(n for n, pair in enumerate(zip(*texts, strict=False)) if len(set(pair)) > 1)
    fixed = len(tokenizer(texts[0][:shared]).input_ids)
    assert usage["prompt_tokens_details"]["cached_tokens"] >= fixed - 32 > 64


@pytest.mark.parametrize("key", [None, "wrong"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/tokenize", "/invocations"])
@pytest.mark.parametrize("name", ["qa_raw-prompt", "smollm2-135m"])
def test_nobody_gets_past_the_key(server: Server, key: str | None, path: str, name: str) -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else {"Authorization": ""}
    body = asking(name, QA) | {"prompt": "Hello"}
    assert server.post(body, path, **headers).status_code == 401
    assert server.get("/health", None).status_code == 200 and server.get("/v1/models", None).status_code == 401


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/completions", {"prompt": "Hello"}),
        ("/v1/responses", {"input": "Hello"}),
        ("/v1/messages", {"max_tokens": 5}),
        ("/tokenize", {}),
        ("/invocations", {}),
        ("/inference/v1/generate", {"token_ids": [1]}),
        ("/v1/chat/completions/batch", {}),
        ("/v1/chat/completions/render", {}),
        ("/v1/chat/completions/", {}),
    ],
)
def test_a_variant_answers_on_no_other_route(server: Server, path: str, fields: dict[str, Any]) -> None:
    refused = server.post(asking("qa-distilled", QA) | fields, path)
    assert refused.status_code == 400 and "/v1/chat/completions only" in refused.json()["error"]["message"]


def test_the_engines_own_name_of_the_adapter_is_no_model(server: Server) -> None:
    served_as = server.ask("qa-distilled", QA).json()["system_fingerprint"]
    refused = server.post(asking(served_as, QA))
    assert refused.status_code == 404 and "qa-distilled, smollm2-135m" in refused.json()["error"]["message"]


def test_the_base_is_stock_vllm(server: Server) -> None:
    hello: Any = {"model": "smollm2-135m", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user",
                  "content": "Say hello."}], "max_tokens": 4, "temperature": 0}  # fmt: skip
    assert server.post(hello).json()["model"] == "smollm2-135m"
    done = server.post(
        {"model": "smollm2-135m", "prompt": "The capital of France is", "max_tokens": 2}, "/v1/completions"
    )
    assert "Paris" in done.json()["choices"][0]["text"]
    assert server.post({"model": "smollm2-135m", "prompt": "a b"}, "/tokenize").json()["count"] == 2


@pytest.mark.parametrize("name", ["qa_raw-prompt", "smollm2-135m"])
@pytest.mark.parametrize(
    "fields", [{"chat_template": "x"}, {"chat_template_kwargs": {"chat_template": "x"}}, {"seed": 1}]
)
def test_what_no_client_may_send(server: Server, name: str, fields: dict[str, Any]) -> None:
    assert server.ask(name, QA, **fields).status_code == 400
    assert server.get("/health").status_code == 200


def eventually(is_true: Callable[[], bool], limit_s: float = 20.0) -> bool:
    deadline = time.monotonic() + limit_s
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def running(server: Server) -> float:
    lines = [line for line in server.get("/metrics").text.splitlines() if line.startswith("vllm:num_requests_running{")]
    return sum(float(line.split()[-1]) for line in lines)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_the_engine(server: Server, stream: bool) -> None:
    body = asking("tale-prompt", TALE, stream=stream, max_tokens=2000)
    headers = {"Authorization": f"Bearer {KEY}"}
    if stream:
        with httpx.stream(
            "POST", f"{server.url}/v1/chat/completions", json=body, headers=headers, timeout=60, trust_env=False
        ) as reply:
            next(reply.iter_lines())
            assert eventually(lambda: running(server) == 1)
    else:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=headers, timeout=2, trust_env=False)
    assert eventually(lambda: running(server) == 0, 10)
    log = next((server.folder / "runs").glob("serve-*/access.jsonl"))
    assert eventually(lambda: json.loads(log.read_text().splitlines()[-1]).get("error") == "disconnected")


def test_metrics_stand_behind_vllms(server: Server) -> None:
    text = httpx.get(f"{server.url}/metrics", headers={"Accept": "application/openmetrics-text"}, trust_env=False).text
    values = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line[:1] != "#"}
    assert values['promptstill_requests_total{variant="qa_raw-prompt"}'] >= 4
    assert values['promptstill_cached_prompt_tokens_total{variant="qa_raw-prompt"}'] > 64
    assert values['promptstill_errors_total{kind="disconnected",variant="tale-prompt"}'] >= 2
    assert any(name.startswith("vllm:") for name in values)


def not_ours(body: bytes) -> bool:
    """Whether a hostile body is the base's, which vLLM answers as it likes, or a right one of thousands of tokens."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return False
    tokens = [value.get(key) for key in ("max_tokens", "max_completion_tokens")] if isinstance(value, dict) else []
    return isinstance(value, dict) and (
        any(isinstance(number, int) and number > 64 for number in tokens)
        or value.get("model") in (None, "", "smollm2-135m")
    )


def test_hostile_bodies_never_make_it_fail(server: Server) -> None:
    statuses: list[int] = []
    with httpx.Client(timeout=60, trust_env=False) as client:

        @settings(
            max_examples=200, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        @given(bodies.bodies)
        def hostile(body: bytes) -> None:
            assume(not not_ours(body))
            headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
            reply = client.post(f"{server.url}/v1/chat/completions", content=body, headers=headers)
            statuses.append(reply.status_code)
            assert reply.status_code < 500, (body, reply.text)

        hostile()
    assert len(statuses) >= 200 and server.get("/health").status_code == 200


@pytest.mark.parametrize("length", ["5", "100000", "-1", "x"])
def test_a_wrong_length_hurts_nobody(server: Server, length: str) -> None:
    body = json.dumps(asking("feel-prompt", {"thing": "ice"}))
    key = f"Authorization: Bearer {KEY}"
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{key}\r\nContent-Length: {length}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as raw:
        raw.sendall((head + body).encode())
        raw.shutdown(socket.SHUT_WR)
        raw.settimeout(10)
        assert b" 500 " not in raw.recv(200)
    assert server.ask("feel-prompt", {"thing": "ice"}).status_code == 200


def refused(server: Server) -> bool:
    try:
        server.get("/health")
    except httpx.ConnectError:
        return True
    return False


def test_sigterm_lets_running_requests_finish(server: Server) -> None:
    """Last: it ends the server."""
    tree = server.tree()

    def tale(pool: ThreadPoolExecutor) -> Future[httpx.Response]:
        return pool.submit(server.ask, "tale-prompt", TALE, max_tokens=60)

    with ThreadPoolExecutor() as pool:
        asked = [tale(pool) for _ in range(3)]
        assert eventually(lambda: running(server) == 3)
        server.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: refused(server), 3)
        assert not any(future.done() for future in asked)
        replies = [future.result(60) for future in asked]
    assert {reply.json()["choices"][0]["finish_reason"] for reply in replies} <= {"length", "stop"}
    assert server.process.wait(60) == 0
    assert not [process for process in tree if process.is_running()]


def test_a_killed_engine_ends_in_503_and_exit_code_1(tmp_path: Path, model: Model) -> None:
    path = artifacts.write_best(tmp_path / "tale.json", "tale", artifacts.tale_prompt(), model.sha256)
    server = start(tmp_path, str(path))
    try:
        tree = server.tree()
        core = next(process for process in tree if "EngineCore" in " ".join(process.cmdline()))
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(server.ask, "tale-prompt", TALE, max_tokens=2000) for _ in range(8)]
            assert eventually(lambda: running(server) == 8)
            core.kill()
            replies = [future.result(60) for future in asked]
        assert [reply.status_code for reply in replies] == [503] * 8
        assert "engine behind this server has died" in replies[0].json()["error"]["message"]
        assert server.process.wait(60) == 1
        said = (tmp_path / "stderr.log").read_text()
        assert "error: vLLM has ended by itself." in said and "engine.log" in said
        assert not [process for process in tree if process.is_running()]
    finally:
        finish(server)
