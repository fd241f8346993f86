"""vLLM's arguments on several machines, what is refused before it starts, and the real server."""

from __future__ import annotations

import itertools
import json
import os
import socket
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from promptstill.engine import vllm as engines
from promptstill.engine.gpus import Gpu
from promptstill.engine.machine import Machine
from promptstill.engine.models import Model
from promptstill.errors import InfrastructureError
from tests.support.terminal import say_nothing

SMALL = Machine(cores=(0, 1), memory_gib=23.4, free_gib=20.0, preload=("/lib/libiomp5.so",))
RAW = "{% for m in messages %}{{ m.content }}{% endfor %}"


def options(argv: list[str]) -> dict[str, str]:
    """The options of an argv that take a value."""
    return {key: value for key, value in itertools.pairwise(argv) if key.startswith("--")}


@pytest.fixture
def model(tmp_path: Path) -> Model:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
    (tmp_path / "model.safetensors").write_bytes(b"0" * 1024)
    return Model("tiny", str(tmp_path), "0" * 64)


def test_a_small_cpu_machine(model: Model) -> None:
    argv, environment = engines.server_command(model, 8123, SMALL)
    flags = options(argv)
    assert argv[:3] == [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    assert (flags["--host"], flags["--port"], flags["--served-model-name"]) == ("127.0.0.1", "8123", "tiny")
    assert (flags["--dtype"], flags["--block-size"], flags["--max-model-len"]) == ("float32", "32", "2048")
    assert "--enforce-eager" in argv and "--trust-request-chat-template" in argv
    assert environment["VLLM_CPU_OMP_THREADS_BIND"] == "0,1"
    assert environment["LD_PRELOAD"] == "/lib/libiomp5.so"
    assert environment["HF_HUB_OFFLINE"] == "1" and environment["VLLM_NO_USAGE_STATS"] == "1"
    assert environment["NO_COLOR"] == "1"


@pytest.mark.parametrize(("memory_gib", "kv_gib"), [(3.0, "1"), (23.4, "2"), (64.0, "6"), (512.0, "8")])
def test_the_kv_cache_grows_with_the_memory(model: Model, memory_gib: float, kv_gib: str) -> None:
    machine = Machine(cores=(0, 1), memory_gib=memory_gib, free_gib=memory_gib)
    assert engines.server_command(model, 1, machine)[1]["VLLM_CPU_KVCACHE_SPACE"] == kv_gib


def test_many_cores_are_left_to_vllm(model: Model) -> None:
    machine = Machine(cores=tuple(range(16)), memory_gib=64, free_gib=60)
    assert "VLLM_CPU_OMP_THREADS_BIND" not in engines.server_command(model, 1, machine)[1]


def test_lora_is_on_only_where_an_adapter_is_served(model: Model) -> None:
    assert "--enable-lora" not in engines.server_command(model, 1, SMALL)[0]
    argv, _ = engines.server_command(model, 1, SMALL, engines.Adapters({"a": Path("x"), "b": Path("y")}, rank=16))
    assert options(argv)["--max-lora-rank"] == "16" and options(argv)["--max-loras"] == "2"
    assert argv[-3] == "--lora-modules"
    assert [json.loads(module) for module in argv[-2:]] == [{"name": "a", "path": "x"}, {"name": "b", "path": "y"}]


def test_a_gpu_machine(model: Model) -> None:
    machine = Machine(cores=(0, 1), memory_gib=64, free_gib=60, gpus=(Gpu(80, 79), Gpu(80, 79)))
    argv, environment = engines.server_command(model, 1, machine)
    flags = options(argv)
    assert (flags["--dtype"], flags["--gpu-memory-utilization"], flags["--tensor-parallel-size"]) == (
        "auto",
        "0.85",
        "1",
    )
    assert "--enforce-eager" not in argv
    assert not {"VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND", "LD_PRELOAD"} & environment.keys()


def test_a_model_too_large_for_one_gpu_is_split(model: Model) -> None:
    machine = Machine(cores=(0,), memory_gib=64, free_gib=60, gpus=(Gpu(1e-6, 1e-6),) * 2)
    assert options(engines.server_command(model, 1, machine)[0])["--tensor-parallel-size"] == "2"


def test_a_hub_model_may_use_the_network() -> None:
    argv, environment = engines.server_command(Model("acme/tiny", "acme/tiny", None), 1, SMALL)
    assert "HF_HUB_OFFLINE" not in environment
    assert options(argv)["--max-model-len"] == "auto"


def test_a_taken_port_is_refused(model: Model, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(InfrastructureError) as caught,
            engines.running_engine(model, tmp_path / "log", say_nothing, port=port),
        ):
            pass
    assert caught.value.what == f"Port {port} is taken."


def test_a_server_ends_although_another_process_has_its_pipe(fake_vllm: Path, tmp_path: Path) -> None:
    """A worker that this process forked meanwhile has copies of all pipes, the one to the guard too."""
    model, log_path = Model("fake", str(fake_vllm), None), tmp_path / "engine.log"
    with engines.running_engine(model, log_path, say_nothing) as engine:
        assert engine.process and engine.process.stdin
        copied = os.dup(engine.process.stdin.fileno())
        began = time.monotonic()
    os.close(copied)
    assert time.monotonic() - began < engines.GRACE_S


def test_the_log_tail_is_the_end_of_the_log(tmp_path: Path) -> None:
    log_path = tmp_path / "engine.log"
    log_path.write_text("".join(f"line {i}\n" for i in range(100)))
    engine = engines.Engine("http://127.0.0.1:1/v1", "tiny", 2048, log_path)
    assert engine.alive()
    assert engine.log_tail().splitlines() == [f"log: {log_path}", *(f"line {i}" for i in range(85, 100))]


@pytest.mark.parametrize(
    ("host", "url_host"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("10.0.0.1", "10.0.0.1")]
)
def test_a_server_is_url_host_an_address(host: str, url_host: str) -> None:
    assert engines.ServerOptions(host=host).url_host == url_host


def test_extra_flags_come_last_and_a_key_is_never_inherited(model: Model) -> None:
    extra = engines.ServerOptions(flags=("--max-model-len", "99"), environment={"VLLM_API_KEY": "k"})
    argv, environment = engines.server_command(model, 1, SMALL, None, extra)
    assert argv[-2:] == ["--max-model-len", "99"] and environment["VLLM_API_KEY"] == "k"
    assert engines.server_command(model, 1, SMALL)[1]["VLLM_API_KEY"] == ""


def chat(engine: engines.Engine, content: str, **fields: Any) -> dict[str, Any]:
    body = {"model": engine.model, "messages": [{"role": "user", "content": content}], "temperature": 0, **fields}
    request = urllib.request.Request(
        f"{engine.base_url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=120) as reply:
        return dict(json.load(reply))


def text(reply: dict[str, Any]) -> str:
    return str(reply["choices"][0]["message"]["content"])


@pytest.mark.e2e
def test_a_real_engine_answers(engine: engines.Engine) -> None:
    assert engine.alive() and engine.max_model_len == 8192
    reply = chat(engine, "Say hello.", max_tokens=8)
    assert text(reply) and text(reply) == text(chat(engine, "Say hello.", max_tokens=8))
    assert reply["model"] == "smollm2-135m" and 0 < reply["usage"]["completion_tokens"] <= 8


@pytest.mark.e2e
def test_raw_layout_sends_no_chat_markup(engine: engines.Engine) -> None:
    reply = chat(engine, "The capital of France is", chat_template=RAW, max_tokens=3)
    assert "Paris" in text(reply)
    assert reply["usage"]["prompt_tokens"] < 8


@pytest.mark.e2e
def test_structured_outputs_allow_only_the_choices(engine: engines.Engine) -> None:
    choices = ["heliotrope", "vermilion"]
    reply = chat(engine, "What colour is the sky?", structured_outputs={"choice": choices}, max_tokens=16)
    assert text(reply) in choices


@pytest.mark.e2e
def test_usage_counts_the_cached_tokens(engine: engines.Engine) -> None:
    long = "Once upon a time. " * 40
    cached = [chat(engine, long, max_tokens=1)["usage"]["prompt_tokens_details"] for _ in range(2)][1]
    assert cached["cached_tokens"] >= 64
