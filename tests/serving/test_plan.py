"""The plan of a server and its vLLM command; refused options, imports, snippets and the client."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from promptstill.dialect import Dialect
from promptstill.engine.arguments import value_of
from promptstill.engine.gpus import Gpu
from promptstill.engine.machine import Machine
from promptstill.errors import InfrastructureError, ReplyError, RequestRefused, UserError
from serving import Client
from serving.banner import FROM_ENVIRONMENT, banner_text, from_file
from serving.plan import ServePlan, plan_server, shell_command
from serving.settings import MiddlewareSettings, ServeSettings, is_public
from serving.variants import load_variants
from tests.promptstill.engine.folders import LLAMA_8B, LLAMA_BYTES, write_model
from tests.support import ROOT, artifacts
from tests.support.fake import FakeEndpoint

CPU = Machine(cores=(0, 1), memory_gib=24, free_gib=20)
GPU = Machine(cores=(0, 1), memory_gib=64, free_gib=60, gpus=(Gpu(80, 79),))


def silent(_line: str) -> None:
    """A `say` that prints nothing."""


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
    (folder / "model.safetensors").write_bytes(b"0")
    return folder


def make_plan(best: Path, model_dir: Path, machine: Machine = CPU, **options: Any) -> ServePlan:
    return plan_server(ServeSettings(artifacts=(best,), model=str(model_dir), **options), machine, silent)


def test_lora_is_on_only_for_adapters(best: Path, model_dir: Path, tmp_path: Path) -> None:
    assert make_plan(best, model_dir).adapters is None
    adapters = make_plan(best, model_dir, adapters=(artifacts.sketch_distilled(tmp_path / "d", 12),)).adapters
    assert adapters is not None and adapters.rank == 16
    assert next(iter(adapters.paths)).startswith("qa-distilled@")


def test_the_printed_command_is_complete_and_has_no_key(best: Path, model_dir: Path) -> None:
    text = shell_command(make_plan(best, model_dir, api_key="sesame", host="::1", vllm_args="--seed 3"), CPU)
    assert "sesame" not in text and text.startswith('env VLLM_API_KEY="${VLLM_API_KEY:?}"')
    words = shlex.split(text.replace("\\\n", ""))
    argv = words[words.index("-m") :]
    assert argv[argv.index("--middleware") + 1] == "serving.middleware.Variants" and argv[-2:] == ["--seed", "3"]
    assert argv[argv.index("--host") + 1] == "::1"
    assert argv[argv.index("--served-model-name") + 1] == "smollm2-135m"
    environment = dict(word.split("=", 1) for word in words[1 : words.index("-m") - 1])
    settings = MiddlewareSettings.from_environment(environment)
    assert settings.artifacts == (str(best),) and settings.keyed and not settings.seeds
    assert environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "0"
    with pytest.raises(RuntimeError, match="set VLLM_API_KEY"):
        MiddlewareSettings.from_environment(environment | {"VLLM_API_KEY": ""})


def test_seeds_are_allowed_only_with_a_gpu(best: Path, model_dir: Path) -> None:
    assert make_plan(best, model_dir, GPU).middleware.seeds
    assert not make_plan(best, model_dir).middleware.seeds


def test_other_weights_than_the_artifacts_are_refused(model_dir: Path, tmp_path: Path) -> None:
    best = artifacts.write_best(tmp_path / "b.json", "qa", artifacts.qa_prompt("raw"), "a" * 64)
    with pytest.raises(UserError, match="has other weights than the artifacts were made with"):
        make_plan(best, model_dir)


def test_inputs_of_two_recipes_are_not_logged_in_one_file(best: Path, model_dir: Path, tmp_path: Path) -> None:
    other = artifacts.write_best(tmp_path / "feel.json", "feel", artifacts.feel_prompt())
    options = ServeSettings(artifacts=(best, other), model=str(model_dir), log_inputs=tmp_path / "log.jsonl")
    with pytest.raises(UserError, match="--log-inputs works for one recipe only; these artifacts have feel, qa"):
        plan_server(options, CPU, silent)


@pytest.mark.parametrize(
    ("host", "public"),
    [("127.0.0.1", False), ("127.9.9.9", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("::", True),
     ("10.0.0.1", True), ("example.org", True)],
)  # fmt: skip
def test_a_public_address_needs_a_key(host: str, public: bool) -> None:
    assert is_public(host) is public
    ServeSettings(artifacts=(), host=host, api_key="key").check()
    ServeSettings(artifacts=(), host=host, insecure=True).check()
    if public:
        with pytest.raises(UserError, match="and no key is set"):
            ServeSettings(artifacts=(), host=host).check()


def test_vllm_args_that_a_shell_cannot_read_are_refused() -> None:
    with pytest.raises(UserError, match="--vllm-args cannot be read: No closing quotation"):
        ServeSettings(artifacts=(), vllm_args="--seed '3").check()


@pytest.mark.parametrize("field", ["artifacts", "adapters"])
@pytest.mark.parametrize("path", ["best.json", Path("best.json")])
def test_one_path_where_a_tuple_is_due_is_refused(field: str, path: Any) -> None:
    with pytest.raises(UserError, match=rf'Write {field}=\("best.json",\), with its comma'):
        ServeSettings(**{field: path}).check()


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_does_not_exist_is_refused(port: int) -> None:
    with pytest.raises(UserError, match=f"{port} is no port"):
        ServeSettings(port=port).check()


@pytest.mark.parametrize("limits", [{"max_concurrency": 0}, {"max_body": -1}])
def test_limits_that_let_no_request_through_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="No request would get through"):
        ServeSettings(artifacts=(), **limits).check()


@pytest.mark.parametrize("max_n", [0, 129])
def test_a_number_of_replies_that_no_server_gives_is_refused(max_n: int) -> None:
    with pytest.raises(UserError, match=rf"max_n is {max_n}\..*\n.*\nChoose 1 to 128\."):
        ServeSettings(max_n=max_n).check()


def test_the_middleware_gets_the_limits(best: Path, model_dir: Path) -> None:
    settings = make_plan(best, model_dir, max_n=2, max_body=2048, max_concurrency=5, with_base=False).middleware
    assert not settings.with_base
    assert (settings.max_n, settings.max_body, settings.max_concurrency) == (2, 2048, 5)
    assert MiddlewareSettings.from_environment(settings.to_environment()) == settings


def test_the_key_is_not_shown_with_the_settings() -> None:
    assert "sesame" not in repr(ServeSettings(api_key="sesame"))


@pytest.mark.parametrize("key", ["", "two words", "schlüssel", "line\n"])
def test_a_key_that_a_header_cannot_hold_is_refused(key: str) -> None:
    with pytest.raises(UserError, match="The key cannot be used"):
        ServeSettings(artifacts=(), api_key=key).check()


def test_the_command_ends_with_an_error_message(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("content", ["sesame\n", " sesame \r\n\n", "sesame"])
def test_a_key_file_holds_the_key_in_a_line(best: Path, model_dir: Path, tmp_path: Path, content: str) -> None:
    path = tmp_path / "key.txt"
    path.write_text(content)
    path.chmod(0o600)
    lines: list[str] = []
    settings = ServeSettings(artifacts=(best,), model=str(model_dir), host="0.0.0.0", api_key_file=path)
    plan = plan_server(settings, CPU, lines.append)
    assert plan.settings.api_key == "sesame" and plan.middleware.keyed and not lines
    assert plan.vllm_options().environment["VLLM_API_KEY"] == "sesame"
    assert "sesame" not in repr(plan) + repr(plan.vllm_options()) + shell_command(plan, CPU)
    for mode in (0o640, 0o604):
        path.chmod(mode)
        plan_server(settings, CPU, lines.append)
    assert lines == [f"warning: others on this machine can read the key; to end that: chmod 600 {path}"] * 2


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read: No such file or directory"), (b"", "is empty"), (b" \n\n", "is empty"),
     (b"one\ntwo\n", "has 2 lines"), (b"\xff", "cannot be read: it is no text"),
     (b"two words", "The key cannot be used")],
)  # fmt: skip
def test_a_file_that_holds_no_key_is_refused(
    best: Path, model_dir: Path, tmp_path: Path, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "key.txt").write_bytes(content)
    with pytest.raises(UserError) as caught:
        make_plan(best, model_dir, api_key_file=str(tmp_path / "key.txt"))
    assert words in caught.value.what


def test_a_key_and_a_key_file_are_not_both_given() -> None:
    with pytest.raises(UserError, match="There are two keys"):
        ServeSettings(api_key="sesame", api_key_file="key.txt").check()


@pytest.mark.parametrize(
    "settings", [{"vllm_args": "--seed 3 --api_key=sesame"}, {"vllm_args": "--port 1"}, {"gpu_memory": 1.5}]
)
def test_an_engine_that_cannot_be_started_so_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"refused|gpu_memory is 1.5"):
        ServeSettings(**settings).check()


def test_the_printed_command_has_room_for_the_requests_at_once(best: Path, tmp_path: Path) -> None:
    folder = Path(write_model(tmp_path / "llama", LLAMA_8B, BF16=LLAMA_BYTES).path)
    machine = Machine(cores=(0,), memory_gib=64, free_gib=60, gpus=(Gpu(79.6, 1.0),))

    def share(**options: Any) -> float:
        text = shell_command(make_plan(best, folder, machine, **options), machine)
        return float(value_of(shlex.split(text.replace("\\\n", "")), "--gpu-memory-utilization") or 0)

    assert share(max_concurrency=8) < 0.4 and share() > 0.8, "what other programs hold now is no matter"
    assert share(gpu_memory=0.7) == 0.7


def test_snippets_take_the_key_from_the_environment_or_a_file(best: Path) -> None:
    served = load_variants([best], [])
    card = {"kind": "prompt", "artifact": "a" * 64, "layout": "raw", "score": None} | {
        "warm": {"cached_tokens": 64, "prompt_tokens": 80}
    }
    models = [{"id": "qa-prompt", "promptstill": card}, {"id": "b", "promptstill": {"kind": "base"}}]
    text = banner_text(served, models, "http://h/v1", FROM_ENVIRONMENT)
    assert 'os.environ["VLLM_API_KEY"]' in text and '"Authorization: Bearer $VLLM_API_KEY"' in text
    assert "qa-prompt  aaaaaaaaaaaa, layout raw, not evaluated on test, 64 of 80 prompt tokens cached" in text
    assert "Authorization" not in banner_text(served, models, "http://h/v1", None)
    assert "some context" in text, "an artifact without an example is shown with made-up inputs"
    text = banner_text(served, models, "http://h/v1", from_file(Path("/my keys/k")))
    assert """Bearer $(tr -d '[:space:]' < '/my keys/k')\"""" in text and "Path('/my keys/k').read_text()" in text


def test_the_client_says_what_went_wrong() -> None:
    with FakeEndpoint(lambda body: '{"answer": "x"}', key="right") as fake:
        with Client(fake.base_url, "right") as client:
            assert client.ask("qa-prompt", model="a field of that name") == {"answer": "x"}
            assert json.loads(fake.bodies[0]["messages"][0]["content"]) == {"model": "a field of that name"}
            for status, error in ((422, ReplyError), (400, RequestRefused), (429, InfrastructureError)):
                fake.misbehave = lambda number, status=status: status  # type: ignore[misc]  # mypy cannot infer it
                with pytest.raises(error, match=f"told to answer {status}"):
                    client.ask("qa-prompt", question="?")
        with Client(fake.base_url, "wrong") as client, pytest.raises(RequestRefused, match="invalid api key"):
            client.models()
    with Client(fake.base_url) as client, pytest.raises(InfrastructureError, match="does not answer"):
        client.models()


def test_a_prompt_that_leaves_markers_of_its_model_whole_is_told(best: Path, model_dir: Path) -> None:
    said: list[str] = []
    settings = ServeSettings(artifacts=(best,), model=str(model_dir))
    plan_server(settings, CPU, said.append)
    assert said == []
    added = [{"content": text, "special": True} for text in ("<|im_start|>", "<|im_end|>")]
    (model_dir / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    plan_server(settings, CPU, said.append)
    assert said == [
        "qa-prompt leaves 2 chat markers of smollm2-135m in inputs as they are (<|im_end|>, …): clients can write "
        "structure. Write its file again with optimize or distill."
    ]


def test_thoughts_that_vllm_ends_are_not_served_beside_a_student(tmp_path: Path, model_dir: Path) -> None:
    prompt = artifacts.feel_prompt()
    dialect = Dialect(thinking_tokens=2048, thinking_token_budget=2048)
    thinking = prompt.model_copy(update={"decoding": prompt.decoding.model_copy(update={"dialect": dialect})})
    best = artifacts.write_best(tmp_path / "best.json", "feel", thinking)
    assert make_plan(best, model_dir).vllm_options().thoughts, "alone it has the parser that this needs"
    with pytest.raises(UserError, match="feel-prompt thinks, and qa-distilled does not"):
        make_plan(best, model_dir, adapters=(artifacts.sketch_distilled(tmp_path / "d"),))
