"""The reasoning parser of a vLLM of our own: by what a model's chat template writes, never by a guess."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from promptstill.endpoint.answers import read_completions
from promptstill.engine import vllm as engines
from promptstill.engine.arguments import value_of
from promptstill.engine.machine import Machine
from promptstill.engine.models import Model
from promptstill.engine.thinking import reasoning_parser
from promptstill.engine.vllm import ServerOptions, running_engine

TURN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
PLAIN = TURN + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
BEGINS = TURN + "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
SWITCH = PLAIN + "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
FAILS = "{{ raise_exception('only with tools') }}"
SMALL = Machine(cores=(0, 1), memory_gib=23.4, free_gib=20.0)


def make(folder: Path, kind: str, template: Any, tokens: tuple[str, ...] = ("<think>", "</think>")) -> Model:
    """A model's folder without weights, with its chat template beside the tokenizer."""
    added = [{"id": number, "content": text, "special": False} for number, text in enumerate(tokens)]
    (folder / "config.json").write_text(json.dumps({"model_type": kind, "max_position_embeddings": 2048}))
    (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    (folder / "model.safetensors").write_bytes(b"0" * 1024)
    return Model("tiny", str(folder), "0" * 64)


@pytest.mark.parametrize(
    ("kind", "template", "parser"),
    [
        ("qwen3", SWITCH, "qwen3"),  # Qwen3, which thinks unless it is told not to
        ("qwen3_moe", BEGINS, "qwen3"),  # Qwen3-Thinking
        ("qwen3", PLAIN, None),  # Qwen3-Instruct
        ("glm4_moe", SWITCH, "glm45"),
        ("qwen2", BEGINS, "deepseek_r1"),  # QwQ, and what was distilled from R1
        ("deepseek_v3", BEGINS, "deepseek_r1"),
        ("smollm3", SWITCH, None),  # of a family whose parser is not known
        ("llama", PLAIN, None),
        ("llama", FAILS, None),
        ("llama", None, None),
        ("gpt_oss", None, "openai_gptoss"),
    ],
)
def test_a_parser_is_chosen_where_the_template_leaves_no_doubt(
    kind: str, template: str | None, parser: str | None, tmp_path: Path
) -> None:
    assert reasoning_parser(make(tmp_path, kind, template)) == parser


def test_think_tokens_are_the_models_own_and_a_template_may_be_a_file(tmp_path: Path) -> None:
    assert reasoning_parser(make(tmp_path, "qwen3", SWITCH, ("<think>",))) is None
    model = make(tmp_path, "qwen3", None)
    assert reasoning_parser(model) is None
    (tmp_path / "chat_template.jinja").write_text(SWITCH)
    assert reasoning_parser(model) == "qwen3"
    assert reasoning_parser(Model("acme/none", "acme/none", None)) is None


def test_a_server_has_the_parser_where_thoughts_are_wanted_and_the_users_own_comes_last(tmp_path: Path) -> None:
    model = make(tmp_path, "qwen3", SWITCH)
    assert engines.PARSER not in engines.server_command(model, 1, SMALL)[0]
    wanted = ServerOptions(thoughts=True, vllm_args="--reasoning-parser deepseek_r1")
    argv, _ = engines.server_command(model, 1, SMALL, options=wanted)
    names = [argv[place + 1] for place, word in enumerate(argv) if word == engines.PARSER]
    assert names == ["qwen3", "deepseek_r1"] and value_of(argv, engines.PARSER) == "deepseek_r1"
    plain = ServerOptions(thoughts=True)
    assert engines.PARSER not in engines.server_command(make(tmp_path, "llama", PLAIN), 1, SMALL, options=plain)[0]


@pytest.fixture
def thinking(embedded: Model, tmp_path: Path) -> Model:
    """The embedded model with two unused tokens renamed, and a template that begins thoughts."""
    folder, names = tmp_path / "thinking", {"<issue_start>": "<think>", "<issue_closed>": "</think>"}
    folder.mkdir()
    for path in Path(embedded.path).iterdir():
        (folder / path.name).symlink_to(path)
    text = (folder / "tokenizer.json").read_text()
    for old, new in names.items():
        text = text.replace(json.dumps(old), json.dumps(new))
    tokenizer = json.loads(text)
    for token in tokenizer["added_tokens"]:
        token["special"] &= token["content"] not in names.values()  # else vLLM leaves it out of the text
    for name, content in (("tokenizer.json", json.dumps(tokenizer)), ("chat_template.jinja", BEGINS)):
        (folder / name).unlink()
        (folder / name).write_text(content)
    return Model("thinking", str(folder), "1" * 64)


@pytest.mark.e2e
def test_vllm_ends_thoughts_by_a_budget_and_constrains_the_answer_behind_them(thinking: Model, tmp_path: Path) -> None:
    assert reasoning_parser(thinking) == "deepseek_r1"
    said: list[str] = []
    options = ServerOptions(thoughts=True)
    body = {
        "model": "thinking",
        "messages": [{"role": "user", "content": "Is grass red or green?"}],
        "temperature": 0.0,
        "max_tokens": 64,
        "thinking_token_budget": 16,
        "structured_outputs": {"choice": ["red", "green"]},
    }
    with running_engine(thinking, tmp_path / "engine.log", said.append, options=options) as engine:
        (completion,) = read_completions(post(f"{engine.base_url}/chat/completions", body), 0.0)
    assert any("--reasoning-parser deepseek_r1" in line for line in said)
    assert completion.text.strip() in ("red", "green") and completion.reasoning
    assert completion.completion_tokens < 40


def post(url: str, body: dict[str, Any]) -> str:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as response:
        return str(response.read().decode())
