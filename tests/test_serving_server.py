"""Artifacts into variants, options into vLLM's command; refusals, imports, the client, and the end by a signal."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from optimizer.errors import InfrastructureError, ReplyError, RequestRefused, UserError
from optimizer.files import file_digest
from optimizer.machine import Gpu, Machine
from serving import Client
from serving.server import Options, Plan, is_public, plan, printed
from serving.settings import Settings
from serving.shown import ready
from serving.variants import load, read_distilled, read_prompt
from tests import artifacts
from tests.fake import FakeEndpoint

ROOT = Path(__file__).parents[1]
CPU = Machine(cores=(0, 1), memory_gib=24, free_gib=20)
GPU = Machine(cores=(0, 1), memory_gib=64, free_gib=60, gpus=(Gpu(80, 79),))


def silent(_line: str) -> None:
    """A `say` for tests that do not look at it."""


def distilled(folder: Path, rank: object = 8, weights: bytes = b"weights", **config: Any) -> Path:
    """A distilled folder as far as it is read before vLLM loads it."""
    artifacts.write_best(folder / "prompt.json", "qa", artifacts.student_prompt())
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank} | config))
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder


@pytest.fixture
def best(tmp_path: Path) -> Path:
    return artifacts.write_best(tmp_path / "best.json", "qa", artifacts.qa_prompt("raw"))


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
    (folder / "model.safetensors").write_bytes(b"0")
    return folder


def test_variants_are_named_by_recipe_and_kind(best: Path, tmp_path: Path) -> None:
    served = load([best], [distilled(tmp_path / "distilled")])
    assert list(served.variants) == ["qa-prompt", "qa-distilled"] and served.base == "smollm2-135m"
    prompt, student = served.variants.values()
    assert prompt.artifact == artifacts.qa_prompt("raw").id and prompt.served_as == "smollm2-135m"
    assert student.served_as == f"qa-distilled@{student.artifact[:12]}"
    assert prompt.score == {"mean": 0.44, "low": 0.37, "high": 0.5, "n": 120}


def test_new_weights_are_a_new_artifact(tmp_path: Path) -> None:
    first, second = (read_distilled(distilled(tmp_path / str(n), weights=bytes([n]))) for n in range(2))
    assert first.prompt.id == second.prompt.id and first.served_as != second.served_as


@pytest.mark.parametrize("scores", [None, {}, {"test": None}, {"test": {"winner": {}}}, [], {"test": {"mean": "high"}}])
def test_a_prompt_that_was_not_tested_has_no_score(tmp_path: Path, scores: Any) -> None:
    (tmp_path / "b.json").write_text(
        json.dumps(artifacts.artifact("qa", artifacts.qa_prompt("raw")) | {"scores": scores})
    )
    assert not read_prompt(tmp_path / "b.json").score


@pytest.mark.parametrize("shipped", ["student", "prompt"])
def test_a_students_score_is_its_own(tmp_path: Path, shipped: str) -> None:
    folder = distilled(tmp_path / "d")
    scores = {"test": {"student": {"score": {"mean": 0.5, "n": 9}}, "gains": {}}}
    written = json.loads((folder / "prompt.json").read_text()) | {"scores": scores, "shipped": shipped}
    (folder / "prompt.json").write_text(json.dumps(written))
    assert read_distilled(folder).score == {"mean": 0.5, "n": 9}


def test_two_models_of_one_name(best: Path) -> None:
    with pytest.raises(UserError, match=r"Two models would be called qa-prompt\."):
        load([best, best], [])


def test_two_base_models(best: Path, tmp_path: Path) -> None:
    other = artifacts.write_best(tmp_path / "other.json", "feel", artifacts.feel_prompt(), "f" * 64)
    with pytest.raises(UserError) as caught:
        load([best, other], [])
    assert str(caught.value).splitlines() == [
        "qa-prompt and feel-prompt have different base models.",
        "They are smollm2-135m and smollm2-135m (ffffffffffff); one server holds one.",
        "Serve them on two ports.",
    ]


def test_nothing_to_serve() -> None:
    with pytest.raises(UserError, match="Nothing to serve"):
        load([], [])


@pytest.mark.parametrize("name", ["", "a/b", "a=b", "--host", "x" * 65, "a b", None, 5])
def test_a_name_that_could_be_more_than_a_name(tmp_path: Path, name: Any) -> None:
    (tmp_path / "b.json").write_text(json.dumps(artifacts.artifact(name, artifacts.qa_prompt("raw"))))
    with pytest.raises(UserError, match="has the name"):
        read_prompt(tmp_path / "b.json")


def test_a_folder_in_place_of_best_json(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"write: --adapter {tmp_path}"):
        read_prompt(tmp_path)


def test_a_folder_that_distill_did_not_write(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no prompt\.json and no adapter_config\.json"):
        read_distilled(tmp_path)


def test_weights_that_the_scores_are_not_of(tmp_path: Path) -> None:
    folder = distilled(tmp_path / "d")
    written = json.loads((folder / "prompt.json").read_text())
    for sha256, right in ((file_digest(folder / "adapter_model.safetensors"), True), ("0" * 64, False)):
        (folder / "prompt.json").write_text(json.dumps(written | {"adapter": {"sha256": sha256, "r": 8}}))
        with contextlib.nullcontext() if right else pytest.raises(UserError, match="is not what"):
            assert read_distilled(folder).name == "qa-distilled"


@pytest.mark.parametrize("rank", [0, 1000, "8", True, None])
def test_an_adapter_that_vllm_would_refuse(tmp_path: Path, rank: Any) -> None:
    with pytest.raises(UserError, match="describes no LoRA adapter"):
        read_distilled(distilled(tmp_path / "d", rank))


def planned(best: Path, model_dir: Path, machine: Machine = CPU, **options: Any) -> Plan:
    return plan(Options(artifacts=(best,), model=str(model_dir), **options), machine, silent)


def test_lora_is_on_only_for_adapters(best: Path, model_dir: Path, tmp_path: Path) -> None:
    assert planned(best, model_dir).adapters is None
    adapters = planned(best, model_dir, adapters=(distilled(tmp_path / "d", 12),)).adapters
    assert adapters is not None and adapters.rank == 16
    assert next(iter(adapters.paths)).startswith("qa-distilled@")


def test_the_printed_command_is_whole_and_holds_no_key(best: Path, model_dir: Path) -> None:
    text = printed(planned(best, model_dir, api_key="sesame", host="::1", vllm_args="--seed 3"), CPU)
    assert "sesame" not in text and text.startswith('env VLLM_API_KEY="${VLLM_API_KEY:?}"')
    words = shlex.split(text.replace("\\\n", ""))
    argv = words[words.index("-m") :]
    assert argv[argv.index("--middleware") + 1] == "serving.middleware.Variants" and argv[-2:] == ["--seed", "3"]
    assert argv[argv.index("--host") + 1] == "::1"
    assert argv[argv.index("--served-model-name") + 1] == "smollm2-135m"
    environment = dict(word.split("=", 1) for word in words[1 : words.index("-m") - 1])
    settings = Settings.from_environment(environment)
    assert settings.artifacts == (str(best),) and settings.keyed and not settings.seeds
    assert environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "0"
    with pytest.raises(RuntimeError, match="set VLLM_API_KEY"):
        Settings.from_environment(environment | {"VLLM_API_KEY": ""})


def test_seeds_are_for_gpus(best: Path, model_dir: Path) -> None:
    assert planned(best, model_dir, GPU).settings.seeds and not planned(best, model_dir).settings.seeds


def test_other_weights_than_the_artifacts(model_dir: Path, tmp_path: Path) -> None:
    best = artifacts.write_best(tmp_path / "b.json", "qa", artifacts.qa_prompt("raw"), "a" * 64)
    with pytest.raises(UserError, match="has other weights than the artifacts were made with"):
        planned(best, model_dir)


def test_inputs_of_two_recipes_in_one_file(best: Path, model_dir: Path, tmp_path: Path) -> None:
    other = artifacts.write_best(tmp_path / "feel.json", "feel", artifacts.feel_prompt())
    options = Options(artifacts=(best, other), model=str(model_dir), log_inputs=tmp_path / "log.jsonl")
    with pytest.raises(UserError, match="--log-inputs takes one recipe; these are feel, qa"):
        plan(options, CPU, silent)


@pytest.mark.parametrize(
    ("host", "public"),
    [("127.0.0.1", False), ("127.9.9.9", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("::", True),
     ("10.0.0.1", True), ("example.org", True)],
)  # fmt: skip
def test_a_public_address_needs_a_key(host: str, public: bool) -> None:
    assert is_public(host) is public
    Options(artifacts=(), host=host, api_key="key").check()
    Options(artifacts=(), host=host, insecure=True).check()
    if public:
        with pytest.raises(UserError, match="is open to others, and there is no key"):
            Options(artifacts=(), host=host).check()


def test_vllm_args_that_no_shell_reads() -> None:
    with pytest.raises(UserError, match="--vllm-args cannot be read: No closing quotation"):
        Options(artifacts=(), vllm_args="--seed '3").check()


@pytest.mark.parametrize("key", ["", "two words", "schlüssel", "line\n"])
def test_a_key_that_no_header_carries(key: str) -> None:
    with pytest.raises(UserError, match="no usable key"):
        Options(artifacts=(), api_key=key).check()


def test_the_command_refuses_in_three_sentences(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "serving", str(tmp_path / "none.json")],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == f"error: {tmp_path / 'none.json'} does not exist.\nMake it with: optimize RECIPE.py\n"


def test_serving_imports_nothing_heavy() -> None:
    code = (
        "import sys, pkgutil, importlib, serving\n"
        "for module in pkgutil.iter_modules(serving.__path__):\n"
        "    if module.name != '__main__': importlib.import_module(f'serving.{module.name}')\n"
        "print(*sorted({'dspy', 'optuna', 'torch', 'vllm', 'transformers', 'litellm'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "\n"


def test_snippets_hold_a_key_only_where_it_was_given_openly(best: Path) -> None:
    served = load([best], [])
    card = {"kind": "prompt", "artifact": "a" * 64, "layout": "raw", "score": None} | {
        "warm": {"cached_tokens": 64, "prompt_tokens": 80}
    }
    models = [{"id": "qa-prompt", "promptstill": card}, {"id": "b", "promptstill": {"kind": "base"}}]
    text = ready(served, models, "http://h/v1", "$VLLM_API_KEY")
    assert 'os.environ["VLLM_API_KEY"]' in text and '"Authorization: Bearer $VLLM_API_KEY"' in text
    assert "qa-prompt  aaaaaaaaaaaa, layout raw, not read on test, 64 of 80 prompt tokens cached" in text
    assert "Authorization" not in ready(served, models, "http://h/v1", None)
    assert """-H 'Authorization: Bearer a"$b'""" in ready(served, models, "http://h/v1", 'a"$b')


def test_the_client_says_what_went_wrong() -> None:
    with FakeEndpoint(lambda body: '{"answer": "x"}', key="right") as fake:
        with Client(fake.base_url, "right") as client:
            assert client.ask("qa-prompt", model="a field of that name") == {"answer": "x"}
            assert json.loads(fake.bodies[0]["messages"][0]["content"]) == {"model": "a field of that name"}
            for status, error in ((422, ReplyError), (400, RequestRefused), (429, InfrastructureError)):
                fake.misbehave = lambda number, status=status: status  # type: ignore[misc]
                with pytest.raises(error, match=f"told to answer {status}"):
                    client.ask("qa-prompt", question="?")
        with Client(fake.base_url, "wrong") as client, pytest.raises(RequestRefused, match="invalid api key"):
            client.models()
    with Client(fake.base_url) as client, pytest.raises(InfrastructureError, match="does not answer"):
        client.models()


SERVER = """
import asyncio, contextlib, sys, uvicorn
from types import SimpleNamespace
from pathlib import Path
from serving.middleware import Setup, Variants
from serving.settings import Settings
from serving.variants import load
from tests.upstream import Upstream

class Slow(Upstream):
    async def _wait(self, receive):
        await asyncio.sleep(0.15)

class Server(uvicorn.Server):  # as vLLM's: signals are its application's business
    @contextlib.contextmanager
    def capture_signals(self):
        yield

async def app(scope, receive, send):
    await variants({**scope, "app": state}, receive, send)

settings = Settings(artifacts=(), adapters=(), seeds=False, keyed=False, access_log=sys.argv[2])
variants = Variants(Slow(), Setup(load([Path(sys.argv[1])], []), settings))
server = Server(uvicorn.Config(app, port=int(sys.argv[3]), log_level="warning"))
state = SimpleNamespace(state=SimpleNamespace(server=server))
asyncio.run(server.serve())
"""


def eventually(is_true: Callable[[], bool], limit_s: float = 20.0) -> bool:
    deadline = time.monotonic() + limit_s
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_requests_finish(tmp_path: Path, number: int) -> None:
    best = artifacts.write_best(tmp_path / "b.json", "qa", artifacts.qa_prompt("raw", "fake"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = [sys.executable, "-c", SERVER, str(best), str(tmp_path / "access.jsonl"), str(port)]
    url = f"http://127.0.0.1:{port}"

    def up() -> bool:
        try:
            return httpx.get(f"{url}/health", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    with subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        try:
            assert eventually(up)
            body = {"model": "qa-prompt", "messages": [{"role": "user", "content": '{"context": "", "question": ""}'}]}
            with httpx.stream("POST", f"{url}/v1/chat/completions", json=body | {"stream": True}, trust_env=False,
                              timeout=60) as reply:  # fmt: skip
                lines = reply.iter_lines()
                first = next(lines)
                process.send_signal(number)
                assert eventually(lambda: not up(), 3)
                rest = [line for line in lines if line]
            assert first.startswith("data: {") and rest[-1] == "data: [DONE]"
            assert process.wait(10) == 0
        finally:
            process.kill()
