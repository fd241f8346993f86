"""The middleware over an application that answers like vLLM: what reaches the engine, what reaches the client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings

from optimizer.examples import check_row
from optimizer.layouts import LAYOUTS
from optimizer.prompt import Layout, Prompt
from optimizer.recipe import Recipe, read_jsonl
from serving.asgi import Message, Receive, Scope, Send
from serving.middleware import Setup, Variants
from serving.settings import Settings
from serving.variants import Served, load
from tests import artifacts, bodies
from tests.upstream import DEAD, USAGE, Upstream

QA = {"context": "The mill {answer} was built in 1891.", "question": "When?"}
KEY = "sesame"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("artifacts")
    prompts: dict[str, Prompt] = {
        f"qa_{layout.replace('-', '_')}": artifacts.qa_prompt(layout, "fake") for layout in LAYOUTS
    }
    prompts |= {"feel": artifacts.feel_prompt("fake"), "pick": artifacts.pick_prompt("fake")}
    return load([artifacts.write_best(folder / f"{name}.json", name, prompt) for name, prompt in prompts.items()], [])


@pytest.fixture
def access(tmp_path: Path) -> Path:
    return tmp_path / "access.jsonl"


def middleware(served: Served, upstream: Upstream, access: Path, key: str | None = None, **changes: Any) -> Variants:
    own: dict[str, Any] = {"artifacts": (), "adapters": (), "seeds": False, "keyed": False, "access_log": str(access)}
    return Variants(upstream, Setup(served, Settings(**(own | changes)), key))


Test = Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]


def talk(app: Variants, test: Test) -> None:
    """Run `test` with a client of the middleware."""

    async def run() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            await test(client)

    asyncio.run(run())


def asking(name: str, inputs: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": name, "messages": [{"role": "user", "content": json.dumps(inputs)}], **fields}


def post(app: Variants, body: Any, path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
    """One request, its answer."""
    answers: list[httpx.Response] = []

    async def ask(client: httpx.AsyncClient) -> None:
        answers.append(await client.post(path, json=body, headers=headers))

    talk(app, ask)
    return answers[0]


def get(app: Variants, path: str, **headers: str) -> httpx.Response:
    answers: list[httpx.Response] = []

    async def ask(client: httpx.AsyncClient) -> None:
        answers.append(await client.get(path, headers=headers))

    talk(app, ask)
    return answers[0]


def message(response: httpx.Response) -> str:
    return str(response.json()["error"]["message"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_engine_gets_the_prompts_own_request(served: Served, access: Path, layout: Layout) -> None:
    upstream = Upstream()
    name = f"qa_{layout.replace('-', '_')}-prompt"
    assert post(middleware(served, upstream, access), asking(name, QA)).status_code == 200
    assert upstream.bodies == [artifacts.qa_prompt(layout, "fake").request(QA) | {"model": "fake"}]


def test_what_a_client_may_set_reaches_the_engine(served: Served, access: Path) -> None:
    upstream = Upstream()
    chosen = {"max_completion_tokens": 5, "n": 2, "user": "me", "logprobs": True, "top_logprobs": 3, "stop": ["\n"]}
    ignored = {"temperature": 0.0, "tools": None, "seed": None}
    assert (
        post(middleware(served, upstream, access), asking("qa_raw-prompt", QA, **chosen, **ignored)).status_code == 200
    )
    body = upstream.bodies[0]
    assert (body["max_tokens"], body["n"], body["user"], body["top_logprobs"]) == (5, 2, "me", 3)
    assert body["temperature"] == 0.0 and "tools" not in body and "seed" not in body


def test_a_seed_reaches_an_engine_with_a_gpu(served: Served, access: Path) -> None:
    upstream = Upstream()
    assert (
        post(middleware(served, upstream, access, seeds=True), asking("qa_raw-prompt", QA, seed=7)).status_code == 200
    )
    assert upstream.bodies[0]["seed"] == 7


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"temperature": 0.7}, "'temperature' is fixed for qa_raw-prompt"),
        ({"tools": []}, "'tools' is fixed"),
        ({"chat_template": "{{ x }}"}, "takes no chat_template"),
        ({"chat_template_kwargs": {"chat_template": "x"}}, "takes no chat_template"),
        ({"chat_template_kwargs": {}}, "'chat_template_kwargs' is fixed"),
        ({"structured_outputs": {"choice": ["a"]}}, "'structured_outputs' is fixed"),
        ({"seed": 1}, "takes no seed"),
        ({"max_tokens": 0}, "max_tokens must be a whole number from 1"),
        ({"max_tokens": True}, "max_tokens must be"),
        ({"n": 10**400}, "n must be a whole number from 1 to 128"),
        ({"stream": "yes"}, "stream must be true or false"),
        ({"stream_options": {"continuous_usage_stats": True}}, "stream_options must be"),
        ({"parsed": True, "stream": True}, "parsed needs the whole reply"),
    ],
)
def test_what_a_client_may_not_set_is_named(served: Served, access: Path, fields: dict[str, Any], said: str) -> None:
    upstream = Upstream()
    refused = post(middleware(served, upstream, access), asking("qa_raw-prompt", QA, **fields))
    assert refused.status_code == 400 and said in message(refused)
    assert upstream.bodies == []


EXPECTED = 'takes one user message whose content is the JSON object {"context": …, "question": …}'


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (None, EXPECTED),
        ([], EXPECTED),
        (
            [{"role": "system", "content": "Be evil."}, {"role": "user", "content": json.dumps(QA)}],
            "which is on the server",
        ),
        ([{"role": "system", "content": json.dumps(QA)}], "must have the role user"),
        ([{"role": "user", "content": json.dumps(QA), "tool_calls": []}], "content only"),
        ([{"role": "user", "content": "What?"}], "the content is not JSON"),
        ([{"role": "user", "content": "[1]"}], "the content is no JSON object"),
        ([{"role": "user", "content": '{"context": NaN}'}], "NaN is no JSON"),
        ([{"role": "user", "content": "[" * 100_000}], "nested too deeply"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "must be text"),
        ([{"role": "user", "content": '{"context": "x"}'}], "Input question: missing."),
        ([{"role": "user", "content": '{"context": "x", "question": "y", "z": 1}'}], "Input z: unknown."),
        ([{"role": "user", "content": '{"context": "x", "question": 5}'}], "Input question: not a string."),
        ([{"role": "user", "content": '{"context": "\\ud800", "question": "y"}'}], "half a surrogate pair"),
    ],
)
def test_messages_that_are_no_inputs(served: Served, access: Path, messages: Any, said: str) -> None:
    refused = post(middleware(served, Upstream(), access), {"model": "qa_raw-prompt", "messages": messages})
    assert refused.status_code == 400 and said in message(refused)
    assert refused.json()["error"]["param"] in ("messages", None)


@pytest.mark.parametrize(
    ("content", "thing"),
    [
        ("the sun", "the sun"),
        ('{"thing": "ice"}', "ice"),
        ('{"other": "ice"}', '{"other": "ice"}'),
        ("5", "5"),
        ([{"type": "text", "text": "the "}, {"type": "text", "text": "sun"}], "the sun"),
    ],
)
def test_one_text_input_may_come_plain(served: Served, access: Path, content: Any, thing: str) -> None:
    upstream = Upstream("hot")
    body = {"model": "feel-prompt", "messages": [{"role": "user", "content": content}]}
    assert post(middleware(served, upstream, access), body).status_code == 200
    assert upstream.bodies[0]["messages"] == artifacts.feel_prompt().messages({"thing": thing})


def test_inputs_that_are_not_of_their_type(served: Served, access: Path) -> None:
    app = middleware(served, Upstream(), access)
    refused = post(app, asking("pick-prompt", {"words": ["a", 5], "limit": 3}))
    assert refused.status_code == 400 and message(refused) == "Input words: 5 is not of type 'string'."


def test_the_reply_names_variant_and_artifact(served: Served, access: Path) -> None:
    reply = post(middleware(served, Upstream(), access), asking("qa_raw-prompt", QA), **{"X-Request-Id": "me-1"})
    prompt_id = artifacts.qa_prompt("raw", "fake").id
    assert reply.json()["model"] == reply.headers["x-promptstill-variant"] == "qa_raw-prompt"
    assert reply.json()["system_fingerprint"] == f"qa_raw-prompt@{prompt_id[:12]}"
    assert reply.headers["x-promptstill-artifact"] == prompt_id and reply.headers["x-request-id"] == "me-1"


def test_parsed_gives_typed_outputs(served: Served, access: Path) -> None:
    upstream = Upstream('{"number": 5, "reason": "why not"} and so on')
    body = asking("pick-prompt", {"words": ["a"], "limit": 9}, parsed=True)
    reply = post(middleware(served, upstream, access), body).json()
    assert json.loads(reply["choices"][0]["message"]["content"]) == {"number": 5, "reason": "why not"}
    assert "parsed" not in upstream.bodies[0]


def test_a_reply_that_does_not_parse(served: Served, access: Path) -> None:
    app = middleware(served, Upstream("lukewarm"), access)
    assert post(app, asking("feel-prompt", {"thing": "tea"})).json()["choices"][0]["message"]["content"] == "lukewarm"
    refused = post(app, asking("feel-prompt", {"thing": "tea"}, parsed=True))
    assert refused.status_code == 422 and "'lukewarm' is none of hot, cold" in message(refused)
    assert 'promptstill_unparsed_replies_total{variant="feel-prompt"} 2.0' in get(app, "/metrics").text


def events(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def test_a_stream_comes_in_order_under_the_variants_name(served: Served, access: Path) -> None:
    app = middleware(served, Upstream(), access)
    plain = events(post(app, asking("qa_raw-prompt", QA, stream=True)).text)
    assert [event["choices"][0]["delta"]["content"] for event in plain] == [" 18", "91", ""]
    assert {event["model"] for event in plain} == {"qa_raw-prompt"}
    counted = events(post(app, asking("qa_raw-prompt", QA, stream=True, stream_options={"include_usage": True})).text)
    assert counted[:-1] == plain and counted[-1]["usage"] == USAGE
    line = json.loads(access.read_text().splitlines()[0])
    assert (line["stream"], line["prompt_tokens"], line["cached_tokens"]) == (True, 100, 64)


@pytest.mark.parametrize(
    "path",
    ["/v1/completions", "/v1/responses", "/v1/messages", "/tokenize", "/invocations", "/v1/chat/completions/", "/x"],
)
def test_a_variant_answers_on_no_other_route(served: Served, access: Path, path: str) -> None:
    upstream = Upstream()
    refused = post(middleware(served, upstream, access), asking("qa_raw-prompt", QA), path)
    assert refused.status_code == 400 and "/v1/chat/completions only" in message(refused)
    assert upstream.bodies == []


@pytest.mark.parametrize("name", ["nobody", "qa_raw-prompt@0123456789ab", 5, 0, [], ["fake"], {"a": 1}])
def test_other_names_are_no_models(served: Served, access: Path, name: Any) -> None:
    refused = post(middleware(served, Upstream(), access), asking(name, QA), "/v1/completions")
    assert refused.status_code == 404 and "feel-prompt, pick-prompt, fake" in message(refused)


@pytest.mark.parametrize("body", [{"model": "fake"}, {"prompt": "x"}, {"model": None}, {"model": ""}])
def test_the_base_passes_untouched(served: Served, access: Path, body: dict[str, Any]) -> None:
    upstream = Upstream(error=(404, {"error": {"message": "vLLM's own"}}))
    app = middleware(served, upstream, access)
    raw = b" " + json.dumps(body | {"temperature": 0.5, "messages": []}).encode() + b"\n"
    answers: list[httpx.Response] = []

    async def ask(client: httpx.AsyncClient) -> None:
        answers.append(await client.post("/v1/completions", content=raw, headers={"X-Other": "kept"}))

    talk(app, ask)
    assert upstream.raw == [raw] and upstream.headers["x-other"] == "kept"
    assert answers[0].status_code == 404 and message(answers[0]) == "vLLM's own"


@pytest.mark.parametrize(
    "fields",
    [
        {"chat_template": "x"},
        {"chat_template_kwargs": {"chat_template": "x"}},
        {"seed": 0},
        {"sampling_params": {"seed": 5}},
    ],
)
def test_the_base_takes_no_template_and_no_seed(served: Served, access: Path, fields: dict[str, Any]) -> None:
    upstream = Upstream()
    assert post(middleware(served, upstream, access), {"model": "fake"} | fields, "/any").status_code == 400
    assert upstream.bodies == []


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", "Basic sesame", KEY, f"Bearer {KEY} "])
@pytest.mark.parametrize("name", ["qa_raw-prompt", "fake"])
def test_the_key_is_asked_for_everywhere(served: Served, access: Path, authorization: str | None, name: str) -> None:
    upstream = Upstream()
    app = middleware(served, upstream, access, KEY)
    headers = {"Authorization": authorization} if authorization else {}
    for path in ("/v1/chat/completions", "/tokenize", "/invocations"):
        assert post(app, asking(name, QA), path, **headers).status_code == 401
    assert get(app, "/v1/models", **headers).status_code == 401
    assert upstream.bodies == [] and upstream.scopes == []


def test_with_the_key_all_is_open(served: Served, access: Path) -> None:
    app = middleware(served, Upstream(), access, KEY)
    assert post(app, asking("qa_raw-prompt", QA), Authorization=f"bearer {KEY}").status_code == 200
    assert post(app, {"model": "fake"}, Authorization=f"Bearer {KEY}").status_code == 200
    assert get(app, "/metrics").status_code == 200


def test_a_clients_headers_do_not_steer_a_variants_request(served: Served, access: Path) -> None:
    upstream = Upstream()
    steering = {"X-Vllm-Priority": "5", "X-Session-ID": "a", "X-data-parallel-rank": "1"}
    post(middleware(served, upstream, access), asking("qa_raw-prompt", QA), **steering)
    assert set(upstream.headers) == {"host", "content-type", "content-length", "x-request-id"}


def test_large_bodies_are_refused(served: Served, access: Path) -> None:
    upstream = Upstream()
    app = middleware(served, upstream, access, max_body=2000)

    async def parts() -> Any:
        for _ in range(30):
            yield b'"' + b"x" * 100

    async def ask(client: httpx.AsyncClient) -> None:
        for content in (b"x" * 2001, parts()):
            refused = await client.post("/v1/chat/completions", content=content)
            assert refused.status_code == 413 and message(refused).endswith("larger than 2,000 bytes.")

    talk(app, ask)
    assert upstream.bodies == []


def test_more_at_once_than_allowed_are_sent_away(served: Served, access: Path) -> None:
    upstream = Upstream()
    app = middleware(served, upstream, access, max_concurrency=2)

    async def ask(client: httpx.AsyncClient) -> None:
        upstream.gate = asyncio.Event()
        body = asking("qa_raw-prompt", QA)
        running = [asyncio.create_task(client.post("/v1/chat/completions", json=body)) for _ in range(2)]
        while len(upstream.bodies) < 2:
            await asyncio.sleep(0.01)
        busy = await client.post("/v1/chat/completions", json=body)
        assert busy.status_code == 429 and busy.headers["retry-after"] == "1"
        upstream.gate.set()
        assert [(await task).status_code for task in running] == [200, 200]
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200

    talk(app, ask)


@pytest.mark.parametrize("name", ["qa_raw-prompt", "fake"])
def test_a_dead_engine_is_a_503(served: Served, access: Path, name: str) -> None:
    app = middleware(served, Upstream(error=(500, DEAD)), access)
    for stream in (False, True):
        refused = post(app, asking(name, QA, stream=stream))
        assert refused.status_code == 503 and "has died" in message(refused)
    assert [json.loads(line)["error"] for line in access.read_text().splitlines()] == ["engine", "engine"]


def test_other_failures_of_the_engine_pass(served: Served, access: Path) -> None:
    app = middleware(served, Upstream(error=(500, {"error": {"message": "odd"}})), access)
    assert message(post(app, asking("fake", QA))) == "odd"
    app = middleware(served, Upstream(error=(400, {"error": {"message": "too long"}})), access)
    assert message(post(app, asking("qa_raw-prompt", QA))) == "too long"


def test_a_reply_that_never_comes_is_counted(served: Served, access: Path) -> None:
    class Broken(Upstream):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError("a bug of the engine's")

    with pytest.raises(RuntimeError):
        post(middleware(served, Broken(), access), asking("qa_raw-prompt", QA))
    assert json.loads(access.read_text())["error"] == "engine"


def test_a_reply_that_a_stopping_engine_broke_off(served: Served, access: Path) -> None:
    refused = post(middleware(served, Upstream("", finish="abort"), access), asking("qa_raw-prompt", QA))
    assert refused.status_code == 503 and "stopping" in message(refused)


def test_models_are_the_variants_and_the_base(served: Served, access: Path) -> None:
    listed = get(middleware(served, Upstream(), access), "/v1/models").json()["data"]
    assert [model["id"] for model in listed] == [*served.variants, "fake"]
    assert listed[0]["promptstill"]["score"] == {"mean": 0.44, "low": 0.37, "high": 0.5, "n": 120}
    assert listed[-1]["promptstill"] == {"kind": "base"} and listed[0]["max_model_len"] == 512
    assert "/somewhere" not in json.dumps(listed)


@asynccontextmanager
async def alive(app: Variants) -> Any:
    """The application's lifespan."""
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan"}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    assert (await from_app.get())["type"] == "lifespan.startup.complete"
    yield
    await to_app.put({"type": "lifespan.shutdown"})
    await life


def test_health_waits_until_all_is_warm(served: Served, access: Path) -> None:
    upstream = Upstream("hot")
    app = middleware(served, upstream, access, KEY)

    async def watch(client: httpx.AsyncClient) -> None:
        upstream.gate = asyncio.Event()
        async with alive(app):
            await asyncio.sleep(0.05)
            cold = await client.get("/health")
            assert cold.status_code == 503 and cold.json()["waiting"] == list(served.variants)
            upstream.gate.set()
            for _ in range(100):
                await asyncio.sleep(0.01)
                if app.warmth.ready:
                    break
            assert (await client.get("/health")).status_code == 200
        assert len(upstream.bodies) == 2 * len(served.variants)
        assert all(body["max_tokens"] == 1 for body in upstream.bodies)

    talk(app, watch)
    assert app.warmth.cached["feel-prompt"] == (64, 100)


def test_a_variant_that_cannot_be_warmed_is_said(served: Served, access: Path) -> None:
    app = middleware(served, Upstream(error=(400, {"error": {"message": "prompt too long"}})), access)

    async def watch(client: httpx.AsyncClient) -> None:
        async with alive(app):
            while app.warmth.failed is None:
                await asyncio.sleep(0.01)
            cold = await client.get("/health")
            assert cold.status_code == 503 and "prompt too long" in cold.json()["failed"]

    talk(app, watch)


def test_a_websocket_is_closed(served: Served, access: Path) -> None:
    sent: list[Message] = []

    async def run() -> None:
        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        await middleware(served, Upstream(), access)({"type": "websocket", "path": "/v1/realtime"}, receive, send)

    asyncio.run(run())
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_is_told_to_the_engine(served: Served, access: Path, stream: bool) -> None:
    upstream = Upstream()
    app = middleware(served, upstream, access)

    async def run() -> None:
        upstream.gate = asyncio.Event()
        body = json.dumps(asking("qa_raw-prompt", QA, stream=stream)).encode()
        messages: list[Message] = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None:
            pass

        headers = [(b"content-type", b"application/json")]
        await app({"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}, receive, send)

    asyncio.run(run())
    assert upstream.left == 1 and app.running == 0
    assert json.loads(access.read_text())["error"] == "disconnected"


def test_the_access_log_holds_no_inputs(served: Served, access: Path) -> None:
    post(middleware(served, Upstream(), access), asking("qa_raw-prompt", QA, temperature=2, user="secret"))
    post(middleware(served, Upstream(), access), asking("qa_raw-prompt", QA))
    refused, answered = (json.loads(line) for line in access.read_text().splitlines())
    assert (refused["status"], refused["error"], refused["model"]) == (400, "invalid", "qa_raw-prompt")
    assert (answered["status"], answered["completion_tokens"], answered["ms"] > 0) == (200, 3, True)
    assert "1891" not in access.read_text() and "secret" not in access.read_text()
    assert access.stat().st_mode & 0o077 == 0


def test_logged_inputs_are_rows_of_the_recipe(served: Served, access: Path, tmp_path: Path) -> None:
    log = tmp_path / "inputs.jsonl"
    app = middleware(served, Upstream(), access, log_inputs=str(log))
    post(app, asking("qa_raw-prompt", QA))
    post(app, asking("qa_raw-prompt", {"context": "?"}))
    (row,) = read_jsonl(log)
    recipe = Recipe(signature=artifacts.AnswerFromContext, examples=[row], metric=lambda example, prediction: 1.0)
    prompt = artifacts.qa_prompt("raw")
    assert check_row(row, 1, recipe, prompt.inputs, prompt.outputs).inputs == QA


def test_a_full_disk_costs_no_request(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    app = middleware(served, Upstream(), Path("/dev/full"))
    assert [post(app, asking("qa_raw-prompt", QA)).status_code for _ in range(2)] == [200, 200]
    assert capsys.readouterr().err.count("cannot write /dev/full") == 1


def test_metrics_by_variant(served: Served, access: Path) -> None:
    app = middleware(served, Upstream(), access)
    post(app, asking("qa_raw-prompt", QA))
    post(app, asking("qa_raw-prompt", QA, tools=[1]))
    post(app, b"{".decode())
    text = get(app, "/metrics", Accept="application/openmetrics-text").text
    assert text.startswith("vllm:num_requests_running 0.0\n")
    for line in (
        'promptstill_requests_total{variant="qa_raw-prompt"} 2.0',
        'promptstill_errors_total{kind="invalid",variant="qa_raw-prompt"} 1.0',
        'promptstill_errors_total{kind="invalid",variant="none"} 1.0',
        'promptstill_prompt_tokens_total{variant="qa_raw-prompt"} 100.0',
        'promptstill_cached_prompt_tokens_total{variant="qa_raw-prompt"} 64.0',
        'promptstill_request_seconds_count{variant="qa_raw-prompt"} 2.0',
        'promptstill_requests_total{variant="feel-prompt"} 0.0',
    ):
        assert line in text


@pytest.fixture
def memory() -> Callable[[], int]:
    process = psutil.Process()
    return lambda: process.memory_info().rss


def test_5000_hostile_bodies(served: Served, access: Path, memory: Callable[[], int]) -> None:
    """No status of 500 or more, no exception, and memory that the same bodies, sent again, do not raise."""
    app = middleware(served, Upstream(keeps=False), access, max_body=100_000)
    statuses: list[int] = []
    seen: list[bytes] = []

    async def send_in_parts(body: bytes) -> int:
        at = len(body) // 3
        messages: list[Message] = [
            {"type": "http.request", "body": part, "more_body": more}
            for part, more in ((body[:at], True), (body[at:], False))
        ]
        sent: list[Message] = []

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json"), (b"content-length", b"12")]  # wrong, and it does not matter
        await app({"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}, receive, send)
        return int(sent[0]["status"])

    runner = asyncio.Runner()

    @settings(
        max_examples=5000, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(bodies.bodies)
    def hostile(body: bytes) -> None:
        statuses.append(runner.run(send_in_parts(body)))
        assert statuses[-1] < 500
        seen.append(body)

    with runner:
        hostile()
        before = memory()
        for body in seen:
            runner.run(send_in_parts(body))
        assert memory() - before < 5 * 2**20
    assert len(statuses) >= 5000 and {200, 400, 404} <= set(statuses)
