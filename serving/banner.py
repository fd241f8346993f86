"""What `serve` prints once it is up: the models, and two snippets that work as pasted."""

from __future__ import annotations

import json
import shlex
from typing import Any

from serving.samples import sample_inputs
from serving.settings import KEY_VARIABLE
from serving.variants import ServedModels

FROM_ENVIRONMENT = f"${KEY_VARIABLE}"


def banner_text(served: ServedModels, models: list[dict[str, Any]], base_url: str, key: str | None) -> str:
    """The whole text.

    `models` is the list that /v1/models returns. `key` is the key to show in the snippets, FROM_ENVIRONMENT where they
    must read it from the environment instead, and None where the server has no key.
    """
    lines = [f"Serving at {base_url} until Ctrl-C", "", *(model_line(model) for model in models), ""]
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


def curl_snippet(served: ServedModels, base_url: str, key: str | None) -> str:
    name, content = sample_message(served)
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": content}]}, ensure_ascii=False)
    words = [f"curl {base_url}/chat/completions", "-H 'Content-Type: application/json'", f"-d {shlex.quote(body)}"]
    if key:
        header = f"Authorization: Bearer {key}"
        words.insert(1, "-H " + (f'"{header}"' if key == FROM_ENVIRONMENT else shlex.quote(header)))
    return " \\\n  ".join(words)


def python_snippet(served: ServedModels, base_url: str, key: str | None) -> str:
    name, content = sample_message(served)
    from_environment = key == FROM_ENVIRONMENT
    api_key = f'os.environ["{KEY_VARIABLE}"]' if from_environment else repr(key or "none")
    imports = "import json\nimport os\n" if from_environment else "import json\n"
    return (
        f"{imports}from openai import OpenAI\n\n"
        f"client = OpenAI(base_url={base_url!r}, api_key={api_key})\n"
        f"inputs = {json.loads(content)!r}\n"
        f"reply = client.chat.completions.create(\n"
        f"    model={name!r}, messages=[{{'role': 'user', 'content': json.dumps(inputs)}}]\n)\n"
        "print(reply.choices[0].message.content)"
    )
