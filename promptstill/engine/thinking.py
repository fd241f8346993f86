"""By which parser a vLLM of our own tells a model's thoughts from its answers (`--reasoning-parser`).

It is chosen only where the model's own files leave no doubt: its chat template begins the thoughts, or ends them when
told to (`enable_thinking`), and `<think>` and `</think>` are tokens of its own. A wrong parser would take whole answers
for thoughts; without one, thoughts are read out of the reply (promptstill/endpoint/answers.py). With a parser a grammar
begins after the thoughts, and vLLM can end them by a budget. The names are vLLM 0.32's (vllm/reasoning).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptstill.endpoint.client import Client
from promptstill.endpoint.tokenize import tokenize_chat
from promptstill.engine.markers import FILES, added_tokens, tokenizer_file
from promptstill.engine.models import Model
from promptstill.files import read_json

BEGIN, END = "<think>", "</think>"
BEGINS = "deepseek_r1"  # for every model whose template begins the thoughts: what stands before `</think>`
FAMILIES: Mapping[str, str] = {"qwen3": "qwen3", "glm4_moe": "glm45"}  # by the beginning of config.json's model_type
ENDING = 3  # tokens: `<think>` and a line end, which may be two
GPT_OSS = "gpt_oss"  # marks its thoughts by channels, whatever its template
GREETING = [[{"role": "user", "content": "Say hello."}]]


def reasoning_parser(model: Model) -> str | None:
    """The name of vLLM's parser for a model whose files are here; None where none is sure to fit."""
    path = tokenizer_file(model, "config.json")
    kind = str(read_json(path).get("model_type", "")) if path else ""
    if kind == GPT_OSS:
        return "openai_gptoss"
    template = chat_template(model)
    if template is None or not {BEGIN, END} <= token_texts(model):
        return None
    begins, ends = rendered(template).endswith(BEGIN), rendered(template, enable_thinking=False).endswith(END)
    family = next((parser for name, parser in FAMILIES.items() if kind.startswith(name)), None)
    return (family if begins or ends else None) or (BEGINS if begins else None)


async def begins_thoughts(client: Client, model: str) -> bool:
    """Whether the chat template of a model at a vLLM begins the thoughts; False where the endpoint does not say."""
    found = await tokenize_chat(client, model, GREETING[0])
    last = found.strings[-ENDING:] if found else ()
    return BEGIN in last and END not in last


def chat_template(model: Model) -> str | None:
    """The model's chat template, from a file of its own or from the tokenizer's; None where there is none."""
    if path := tokenizer_file(model, "chat_template.jinja"):
        return Path(path).read_text(encoding="utf-8")
    path = tokenizer_file(model, "tokenizer_config.json")
    found = read_json(path).get("chat_template") if path else None
    return found if isinstance(found, str) else None


def token_texts(model: Model) -> set[str]:
    """The texts of the tokens that were added to the model's vocabulary."""
    paths = [tokenizer_file(model, name) for name in FILES]
    return {str(token["content"]) for path in paths if path for token in added_tokens(read_json(path))}


def rendered(template: str, **switches: Any) -> str:
    """A greeting up to where the reply begins, without white space at its end; empty where the template fails."""
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        # Its annotation says that it is a text; it is the texts, and where the assistant's parts stand in each.
        found: Any = render_jinja_template(GREETING, chat_template=template, add_generation_prompt=True, **switches)
    except Exception:  # the template is the model's own code, in a sandbox; it may want what only its tokenizer has
        return ""
    return str(found[0][0]).rstrip()
