"""What `serve` prints once it is up: the models, and two snippets that work as pasted."""

from __future__ import annotations

import json
import shlex
from typing import Any

from serving.samples import sample_inputs
from serving.settings import KEY_VARIABLE
from serving.variants import Served

FROM_ENVIRONMENT = f"${KEY_VARIABLE}"


def ready(served: Served, models: list[dict[str, Any]], base_url: str, key: str | None) -> str:
    """`models` is what /v1/models lists; `key` the key, FROM_ENVIRONMENT for one that is not shown, None for none."""
    lines = [f"Serving at {base_url} until Ctrl-C", "", *(about(model) for model in models), ""]
    lines += [curl(served, base_url, key), "", "# or in Python (pip install openai)", python(served, base_url, key)]
    others = ", ".join(list(served.variants)[1:])
    return "\n".join([*lines, *(["", f"To ask another, give its name as the model: {others}"] if others else [])])


def about(model: dict[str, Any]) -> str:
    """One line for a model."""
    card = model["promptstill"]
    if card["kind"] == "base":
        return f"  {model['id']}  the base model, as it is"
    score = card["score"]
    scored = f"{100 * score['mean']:.1f} on test (n = {score['n']})" if score else "not read on test"
    warm = f"{card['warm']['cached_tokens']} of {card['warm']['prompt_tokens']} prompt tokens cached"
    return f"  {model['id']}  {card['artifact'][:12]}, layout {card['layout']}, {scored}, {warm}"


def message(served: Served) -> tuple[str, str]:
    """The first variant's name, and a content that it takes: a row of its recipe's, where the artifact has one."""
    name, variant = next(iter(served.variants.items()))
    return name, json.dumps(variant.example or sample_inputs(variant.prompt, "some"), ensure_ascii=False)


def curl(served: Served, base_url: str, key: str | None) -> str:
    name, content = message(served)
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": content}]}, ensure_ascii=False)
    words = [f"curl {base_url}/chat/completions", "-H 'Content-Type: application/json'", f"-d {shlex.quote(body)}"]
    if key:
        header = f"Authorization: Bearer {key}"
        words.insert(1, "-H " + (f'"{header}"' if key == FROM_ENVIRONMENT else shlex.quote(header)))
    return " \\\n  ".join(words)


def python(served: Served, base_url: str, key: str | None) -> str:
    name, content = message(served)
    env = key == FROM_ENVIRONMENT
    api_key = f'os.environ["{KEY_VARIABLE}"]' if env else repr(key or "none")
    imports = "import json\nimport os\n" if env else "import json\n"
    return (
        f"{imports}from openai import OpenAI\n\n"
        f"client = OpenAI(base_url={base_url!r}, api_key={api_key})\n"
        f"inputs = {json.loads(content)!r}\n"
        f"reply = client.chat.completions.create(\n"
        f"    model={name!r}, messages=[{{'role': 'user', 'content': json.dumps(inputs)}}]\n)\n"
        "print(reply.choices[0].message.content)"
    )
