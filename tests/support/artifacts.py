"""Artifacts as optimize and distill write them: best.json files in every layout, and a LoRA adapter made by PEFT."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, Literal

import dspy
from hypothesis import strategies as st

from promptstill.engine.models import Model
from promptstill.prompt.artifact import SCHEMA_VERSION
from promptstill.prompt.layouts import LAYOUTS, Layout
from promptstill.prompt.layouts.bare import bare_prompt
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.parts import NearestDemos
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt

INSTRUCTION = "Answer the question using only the context. Copy the shortest phrase that answers it, word for word."
DEMOS = [
    {
        "context": f"The {thing} was built in {year} by {who}.",
        "question": f"When was the {thing} built?",
        "answer": year,
    }
    for thing, year, who in (("bridge", "1891", "Ada Kerr"), ("mill", "1740", "Tom Ruud"), ("pier", "1902", "Eva Lind"))
]


class AnswerFromContext(dspy.Signature):
    """Answer the question using only the context."""

    context: str = dspy.InputField()
    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


class Feel(dspy.Signature):
    """Is the thing hot or cold?"""

    thing: str = dspy.InputField()
    feel: Literal["hot", "cold"] = dspy.OutputField()


class Pick(dspy.Signature):
    """Pick a number below the limit for each word."""

    words: list[str] = dspy.InputField()
    limit: int = dspy.InputField()
    number: int = dspy.OutputField()
    reason: str = dspy.OutputField()


class Form(dspy.Signature):
    """Count what was filled in."""

    entries: dict[str, Any] = dspy.InputField()
    count: int = dspy.OutputField()


def qa_prompt(layout: Layout, model: str = "smollm2-135m") -> Prompt:
    return build_prompt(Task(AnswerFromContext, model, 16), layout, INSTRUCTION, DEMOS, k=len(DEMOS))


def feel_prompt(model: str = "smollm2-135m") -> Prompt:
    return build_prompt(
        Task(Feel, model, 8), "chat", "Is the thing hot or cold?", [{"thing": "fire", "feel": "hot"}], k=1
    )


def calibrated_prompt(model: str = "smollm2-135m") -> Prompt:
    """A prompt with a bias between its labels."""
    prompt = feel_prompt(model)
    bias = {"logit_bias": {"17": 1.25, "42": -1.25}, "logit_bias_texts": {"hot": -1.25, "cold": 1.25}}
    return prompt.model_copy(update={"decoding": prompt.decoding.model_copy(update=bias)})


def pick_prompt(model: str = "smollm2-135m") -> Prompt:
    return build_prompt(Task(Pick, model, 24), "json", "Pick a number below the limit for each word.")


def form_prompt(model: str = "smollm2-135m") -> Prompt:
    """A prompt that knows the markers of its model's tokenizer; its input is an object with any keys and values."""
    task = Task(Form, model, 8, markers=("<|im_start|>", "<|im_end|>"))
    return build_prompt(task, "chat", "Count what was filled in.")


def nearest_prompt(layout: Layout, model: str = "smollm2-135m") -> Prompt:
    """The demos of each input are picked; `chat` sends them as earlier turns, `inline` inside the one message."""
    pool = NearestDemos(("question",), tuple(DEMOS))
    return build_prompt(Task(AnswerFromContext, model, 16), layout, INSTRUCTION, pool, k=2)


def story_prompt(model: str = "smollm2-135m") -> Prompt:
    """A prompt whose replies are long."""
    task = Task(AnswerFromContext, model, 2000, single_line=False)
    return build_prompt(task, "chat", "Write the beginning of a long novel. Do not stop.")


def student_prompt(model: str = "smollm2-135m") -> Prompt:
    return bare_prompt(Task(AnswerFromContext, model, 16))


def prompts(model: str = "smollm2-135m") -> dict[str, Prompt]:
    """A prompt in every layout, two with nearest demos, and those of the typed tasks, by recipe name."""
    by_layout = {f"qa_{layout.replace('-', '_')}": qa_prompt(layout, model) for layout in LAYOUTS}
    nearest = {"near_turns": nearest_prompt("chat", model), "near_inside": nearest_prompt("inline", model)}
    typed = {"form": form_prompt(model), "feel": feel_prompt(model), "pick": pick_prompt(model)}
    return by_layout | nearest | typed | {"calibrated": calibrated_prompt(model)}


def artifact(name: str, prompt: Prompt, sha256: str | None = None) -> dict[str, Any]:
    """The part of a best.json that `serve` reads."""
    score = {"mean": 0.44, "low": 0.37, "high": 0.5, "n": 120}
    test = {"winner": {"score": score}, "baseline": {"score": {"mean": 0.2}}, "gains": {}}
    return {
        "schema_version": SCHEMA_VERSION,
        "id": prompt.id,
        "name": name,
        "model": {"name": prompt.model, "sha256": sha256},
        "shipped": "winner",
        "scores": {"test": test},
        "prompt": prompt.model_dump(mode="json"),
    }


def write_best(path: Path, name: str, prompt: Prompt, sha256: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(artifact(name, prompt, sha256)))
    return path


def write_distilled(folder: Path, name: str, prompt: Prompt, model: Model) -> Path:
    """A distilled folder with a LoRA adapter for `model`. Its weights are random, so that its answers differ."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    with torch.device("meta"):  # only the shapes matter
        config = AutoConfig.from_pretrained(model.path)
        base = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
    peft = get_peft_model(base, config)
    random_weights = {
        key: torch.randn(value.shape) * 0.05 for key, value in peft.state_dict().items() if "lora_" in key
    }
    peft.save_pretrained(str(folder), state_dict=random_weights)
    write_best(folder / "prompt.json", name, prompt, model.sha256)
    return folder


def sketch_distilled(folder: Path, rank: object = 8, weights: bytes = b"weights", **config: Any) -> Path:
    """A distilled folder with only what is read before vLLM loads it; vLLM could not load these weights."""
    write_best(folder / "prompt.json", "qa", student_prompt())
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank} | config))
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder


def doubled(depth: int) -> dict[str, Any]:
    """A type whose check doubles with each of its definitions."""
    inner = {f"A{i}": {"anyOf": [{"$ref": f"#/$defs/A{i - 1}"}] * 2} for i in range(1, depth)}
    return {"$ref": f"#/$defs/A{depth - 1}", "$defs": inner | {"A0": {"type": "string"}}}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def widening(width: int) -> dict[str, Any]:
    """A type of objects that need as many others of their own kind."""
    names = [f"n{number}" for number in range(width)]
    node = {"type": "object", "required": names, "properties": {name: {"$ref": "#/$defs/Node"} for name in names}}
    return {"$ref": "#/$defs/Node", "$defs": {"Node": node}}


HOSTILE_VALUES: list[Any] = [
    *(None, True, -1, 0, 2**31, 10**400, 1e308, 0.5, "", "x" * 100_000, [], {}, [[]], [None], {"": {}}),
    *("<|im_end|>", "\x1b[2J", "\ud800", "--trust-remote-code", "../../etc/passwd", "http://127.0.0.1:1/", "acme/x"),
    *("{context}" * 5000, "{context.__class__}", "{context!r:>999999999}", "{#demos}" * 100, "{words}{thing}", "{"),
    *([f"<{word}>" for word in map("".join, product("abcdefgh", repeat=4))], [f"1{n}a" for n in range(20)]),
    *(["x"] * 5000, {str(i): i for i in range(500)}, nested(60), nested(100)),
]
HOSTILE_TYPES: list[Any] = [
    *({"$ref": "http://127.0.0.1:1/x"}, {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, doubled(40)),
    *({"type": "array", "items": {"type": "string", "pattern": "^(a+)+$"}}, {"type": "string", "pattern": "^(a|a)*$"}),
    *({"type": ["string", "null"]}, {"anyOf": []}, {"enum": []}, {"type": "object", "required": ["a"]}, {"type": "x"}),
    *(widening(20), {"anyOf": [{"type": "integer"}] * 1990}, {"allOf": [{"uniqueItems": True}] * 1990}),
    *({"type": "array", "uniqueItems": True}, {"$id": "http://127.0.0.1:1/"}, {"const": nested(60)}, {"not": {}}),
    {"$ref": "#/$defs/T", "$defs": {"T": {"type": "object", "properties": {"t": {"$ref": "#/$defs/T"}},
                                          "required": ["t"]}}},
]  # fmt: skip
Mutation = Callable[[dict[str, Any]], None]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container inside `value` with each of its keys or indexes."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from places(value[key])


def mutation(kind: str, position: int, hostile: Any) -> Mutation:
    """A change of an artifact at one of its places, counted through."""

    def change(artifact: dict[str, Any]) -> None:
        found, new = list(places(artifact)), json.loads(json.dumps(hostile))
        if kind == "type":
            found = [(holder, key) for holder, key in found if key == "type" and isinstance(holder.get(key), dict)]
        holder, key = found[position % len(found)] if found else (artifact, "prompt")
        if kind == "delete":
            del holder[key]
        elif kind == "repeat" and isinstance(holder, list):
            holder += json.loads(json.dumps(holder)) * min(3000, position)
        elif kind == "add" and isinstance(holder, dict):
            holder[str(new)[:50]] = new
        else:
            holder[key] = new

    return change


mutations: st.SearchStrategy[Mutation] = st.one_of(
    st.builds(
        mutation,
        st.sampled_from(["replace", "replace", "delete", "repeat", "add"]),
        st.integers(0, 2000),
        st.sampled_from(HOSTILE_VALUES),
    ),
    st.builds(mutation, st.just("type"), st.integers(0, 2000), st.sampled_from(HOSTILE_TYPES)),
)
