"""Variants: the prompts and students that a client can name as its model, read from best.json files and folders.

The files may come from strangers. So their sizes are limited, names are checked, and nothing in them is executed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from promptstill.errors import UserError
from promptstill.files import digest, file_digest
from promptstill.prompt.artifact import read_artifact
from promptstill.prompt.prompt import Prompt
from promptstill.shell import command_line

Kind = Literal["prompt", "distilled"]
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
MODEL_NAME = re.compile(r"(?!-)[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,1000}")  # it is printed, and an argument of vLLM
ADAPTER_WEIGHTS, ADAPTER_CONFIG, PROMPT = "adapter_model.safetensors", "adapter_config.json", "prompt.json"
MODEL_CONFIG = "config.json"  # a folder with a whole model has it, a folder with an adapter does not
CONFIG_LIMIT = 2**20  # bytes
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the values that vLLM accepts for --max-lora-rank


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter on disk. `sha256` covers its weights and its config, `weights_sha256` the weights alone."""

    path: Path
    rank: int
    weights_sha256: str
    sha256: str


@dataclass(frozen=True)
class Variant:
    """A prompt that clients can name as their model.

    `base` is the model that answers. `example` has the inputs of a row of the recipe, if the artifact has them.
    `folder` has the weights of `base`, if the artifact is in the same folder.
    """

    recipe: str
    kind: Kind
    prompt: Prompt
    base: str
    base_sha256: str | None
    score: Mapping[str, Any] | None
    adapter: Adapter | None = None
    example: Mapping[str, Any] | None = None
    folder: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.recipe}-{self.kind}"

    @cached_property
    def artifact(self) -> str:
        """The id of what is served: of the prompt, and of the adapter if there is one."""
        return digest([self.prompt.id, self.adapter.sha256]) if self.adapter else self.prompt.id

    @cached_property
    def engine_name(self) -> str:
        """vLLM's name for the weights. It holds the artifact's id: vLLM may keep old cache blocks for a reused name."""
        return self.fingerprint if self.adapter else self.base

    @cached_property
    def fingerprint(self) -> str:
        """The `system_fingerprint` of its replies."""
        return f"{self.name}@{self.artifact[:12]}"

    @cached_property
    def card(self) -> dict[str, Any]:
        """What /v1/models says about it under `promptstill`."""
        return {
            "kind": self.kind,
            "artifact": self.artifact,
            "layout": self.prompt.layout,
            "score": self.score,
            "inputs": {field.name: field.type for field in self.prompt.inputs},
            "outputs": {field.name: field.type for field in self.prompt.outputs},
        }


@dataclass(frozen=True)
class ServedModels:
    """One base model, and all its variants by name.

    folder: has the base model's weights, if it is known. with_base: whether clients can name the base model too.
    """

    base: str
    base_sha256: str | None
    variants: Mapping[str, Variant]
    folder: Path | None = None
    with_base: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The names that a client can ask for; the base model's is the last."""
        return (*self.variants, self.base) if self.with_base else tuple(self.variants)


def load_variants(artifacts: Sequence[Path], adapters: Sequence[Path]) -> ServedModels:
    """The variants in best.json files and distilled folders. Raises `UserError`."""
    variants = [read_prompt(path) for path in artifacts] + [read_distilled(path) for path in adapters]
    if not variants:
        best = Path("best.json")
        command = command_line("serve", best)
        hint = f"Try: {command}" if best.is_file() else "Name a best.json, or a folder with --adapter."
        raise UserError("Nothing to serve.", "", hint)
    first = variants[0]
    by_name: dict[str, Variant] = {}
    for variant in variants:
        if variant.name in by_name or variant.name == variant.base:
            raise UserError(
                f"Two models would be called {variant.name}.",
                "A variant's name comes from its recipe.",
                "Serve only one of them, or rename one of the recipes.",
            )
        if (variant.base, variant.base_sha256) != (first.base, first.base_sha256):
            raise UserError(
                f"{first.name} and {variant.name} have different base models.",
                f"They are {base_text(first)} and {base_text(variant)}. One server has one base model.",
                "Start two servers, on different ports.",
            )
        by_name[variant.name] = variant
    return ServedModels(first.base, first.base_sha256, by_name, first.folder)


def read_prompt(path: Path) -> Variant:
    """The variant of a best.json, or of a folder with a merged student."""
    if path.is_dir() and (path / PROMPT).is_file() and (path / MODEL_CONFIG).is_file():
        return replace(read_variant(path / PROMPT, "distilled"), folder=path)
    if path.is_dir():
        raise UserError(f"{path} is a folder.", "", f"If distill wrote it, say: --adapter {path}")
    return read_variant(path, "prompt")


def read_distilled(folder: Path) -> Variant:
    """The variant of a folder that distill wrote."""
    missing = [name for name in (PROMPT, ADAPTER_CONFIG, ADAPTER_WEIGHTS) if not (folder / name).is_file()]
    if missing and (folder / "work").is_dir():
        resume = command_line("distill", "--resume", folder)
        raise UserError(f"{folder} is not finished.", f"It has no {missing[0]} yet.", f"Finish it with: {resume}")
    if missing:
        raise UserError(
            f"{folder} is not a distilled folder.",
            f"It has no {' and no '.join(missing)}.",
            "Give the folder that distill wrote.",
        )
    return read_variant(folder / PROMPT, "distilled", read_adapter(folder))


def read_adapter(folder: Path) -> Adapter:
    """The adapter of a distilled folder. Raises `UserError` where vLLM could not load it."""
    path = folder / ADAPTER_CONFIG
    try:
        config = json.loads(path.read_bytes()[:CONFIG_LIMIT])
        rank = config["r"]
        if config["peft_type"] != "LORA" or type(rank) is not int or not 1 <= rank <= LORA_RANKS[-1]:
            raise ValueError(f"it is {config['peft_type']} of rank {rank}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is not the config of a LoRA adapter that vLLM can load.",
            str(error),
            "Give the folder that distill wrote.",
        ) from error
    weights = file_digest(folder / ADAPTER_WEIGHTS)
    return Adapter(folder.resolve(), rank, weights, digest([weights, file_digest(path)]))


def read_variant(path: Path, kind: Kind, adapter: Adapter | None = None) -> Variant:
    """A variant from an artifact file."""
    artifact = read_artifact(path)
    recorded = artifact.get("adapter")
    if adapter and isinstance(recorded, dict) and recorded.get("sha256") != adapter.weights_sha256:
        raise UserError(
            f"{adapter.path / ADAPTER_WEIGHTS} does not match {path}.",
            "The weights were changed later, so the scores are not theirs.",
            "Restore the folder, or distill again.",
        )
    if recorded and not adapter:
        raise UserError(
            f"{path} is the prompt of an adapter.",
            "Without the adapter, the base model would answer in the student's name.",
            f"Serve the folder: {command_line('serve', '--adapter', path.parent)}",
        )
    prompt = Prompt.from_artifact(artifact, str(path))
    name, model = artifact.get("name"), artifact.get("model")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UserError(
            f"{path} has the name {name!r}.",
            "A name has up to 64 letters, digits, _, . and -, and begins with neither . nor -.",
            "Correct the name in the file.",
        )
    model = model if isinstance(model, dict) else {"name": prompt.model}
    base, sha256 = model.get("name"), model.get("sha256")
    if not isinstance(base, str) or not MODEL_NAME.fullmatch(base) or not isinstance(sha256, str | None):
        raise UserError(f"{path} names no model.", "", "Write it again with optimize or distill.")
    arm = "student" if kind == "distilled" else str(artifact.get("shipped"))
    score, example = test_score(artifact, arm), example_inputs(artifact, prompt)
    return Variant(name, kind, prompt, base, sha256, score, adapter, example)


def example_inputs(artifact: Mapping[str, Any], prompt: Prompt) -> dict[str, Any] | None:
    """The artifact's example, if the prompt takes it."""
    example = artifact.get("example")
    try:
        prompt.check_inputs(example if isinstance(example, dict) else {})
        json.dumps(example, ensure_ascii=False).encode()
    except (UserError, UnicodeEncodeError):  # of half a surrogate pair
        return None
    return dict(example or {})


def test_score(artifact: Mapping[str, Any], arm: str) -> dict[str, Any] | None:
    """The test score of an arm: mean, low, high, n. None where it was not evaluated on test."""
    scores = artifact.get("scores")
    found: Any = scores.get("test") if isinstance(scores, dict) else None
    for key in (arm, "score"):
        found = found.get(key, found) if isinstance(found, dict) else None
    known = found if isinstance(found, dict) else {}
    bounds = {"mean": (-1, 1), "low": (-1, 1), "high": (-1, 1), "n": (0, 10**9)}  # Matthews' correlation begins at -1
    score = {
        key: known[key]
        for key, (least, most) in bounds.items()
        if isinstance(known.get(key), int | float) and least <= known[key] <= most
    }
    return score if score.keys() >= {"mean", "n"} else None


def base_text(variant: Variant) -> str:
    """A variant's base model, with the start of its hash if it is known."""
    return f"{variant.base} ({variant.base_sha256[:12]})" if variant.base_sha256 else variant.base
