"""What `serve` prints once it is up: the models, and two snippets that work as pasted. It never shows the key."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.samples import sample_inputs
from serving.settings import KEY_VARIABLE
from serving.variants import ServedModels


@dataclass(frozen=True)
class KeySource:
    """How the snippets get the key: what a shell puts into double quotes, and Python's expression and import."""

    shell: str
    python: str
    module: str
    note: str = ""


FROM_ENVIRONMENT = KeySource(
    f"${KEY_VARIABLE}",
    f'os.environ["{KEY_VARIABLE}"]',
    "import os",
    f"Clients send the key. These lines take it from {KEY_VARIABLE}:",
)


def from_file(path: Path) -> KeySource:
    """The key in a file, read as `serve` reads it: without the white space around it."""
    shell = f"$(tr -d '[:space:]' < {shlex.quote(str(path))})"
    return KeySource(shell, f"Path({str(path)!r}).read_text().strip()", "from pathlib import Path")


def banner_text(served: ServedModels, models: list[dict[str, Any]], base_url: str, key: KeySource | None) -> str:
    """The whole text. `models` is the list that /v1/models returns. `key` is None where the server has none."""
    lines = [f"Serving at {base_url} until Ctrl-C", "", *(model_line(model) for model in models), ""]
    lines += [key.note, ""] if key and key.note else []
    snippets = curl_snippet(served, base_url, key), python_snippet(served, base_url, key)
    lines += [snippets[0], "", "# or in Python (pip install openai)", snippets[1]]
    others = ", ".join(list(served.variants)[1:])
    return "\n".join([*lines, *(["", f"Other models that you can name: {others}"] if others else [])])


def model_line(model: dict[str, Any]) -> str:
    """One line about a model."""
    card = model["promptstill"]
    if card["kind"] == "base":
        return f"  {model['id']}  the base model, without a prompt"
    score = card["score"]
    score_text = f"{100 * score['mean']:.1f} on test (n = {score['n']})" if score else "not evaluated on test"
    cache_text = f"{card['warm']['cached_tokens']} of {card['warm']['prompt_tokens']} prompt tokens cached"
    return f"  {model['id']}  {card['artifact'][:12]}, layout {card['layout']}, {score_text}, {cache_text}"


def sample_message(served: ServedModels) -> tuple[str, str]:
    """The first variant's name, and a message for it: the artifact's example, or made-up inputs where it has none."""
    name, variant = next(iter(served.variants.items()))
    return name, json.dumps(variant.example or sample_inputs(variant.prompt, "some"), ensure_ascii=False)


def curl_snippet(served: ServedModels, base_url: str, key: KeySource | None) -> str:
    name, content = sample_message(served)
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": content}]}, ensure_ascii=False)
    words = [f"curl {base_url}/chat/completions", "-H 'Content-Type: application/json'", f"-d {shlex.quote(body)}"]
    if key:
        words.insert(1, f'-H "Authorization: Bearer {key.shell}"')
    return " \\\n  ".join(words)


def python_snippet(served: ServedModels, base_url: str, key: KeySource | None) -> str:
    name, content = sample_message(served)
    api_key = key.python if key else "'none'"
    imports = f"import json\n{key.module}\n" if key else "import json\n"
    return (
        f"{imports}from openai import OpenAI\n\n"
        f"client = OpenAI(base_url={base_url!r}, api_key={api_key})\n"
        f"inputs = {json.loads(content)!r}\n"
        f"reply = client.chat.completions.create(\n"
        f"    model={name!r}, messages=[{{'role': 'user', 'content': json.dumps(inputs)}}]\n)\n"
        "print(reply.choices[0].message.content)"
    )
