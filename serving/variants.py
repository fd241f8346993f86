"""Variants: what a client may name as its model, read from best.json files and distilled folders.

The files may come from elsewhere: sizes are bounded, names are checked, and nothing in them is executed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from optimizer.errors import UserError
from optimizer.files import digest, file_digest
from optimizer.prompt import Prompt, read_artifact
from optimizer.shell import pasted

Kind = Literal["prompt", "distilled"]
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
WEIGHTS, CONFIG, PROMPT = "adapter_model.safetensors", "adapter_config.json", "prompt.json"
WHOLE = "config.json"  # what a model folder has, and an adapter has not
CONFIG_BYTES = 2**20
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM takes as --max-lora-rank


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter on disk; `weights` is the sha256 of its weights alone."""

    path: Path
    rank: int
    weights: str
    sha256: str


@dataclass(frozen=True)
class Variant:
    """A prompt under a model name. `artifact` is the id of what is served: the prompt and, distilled, the weights.

    example: the inputs of some row of the recipe's, where the artifact has them. folder: where the weights of
    `base` lie, if the artifact lies with them.
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
        return digest([self.prompt.id, self.adapter.sha256]) if self.adapter else self.prompt.id

    @cached_property
    def served_as(self) -> str:
        """The engine's name for the weights; it holds their id, since vLLM may keep stale blocks for a reused name."""
        return f"{self.name}@{self.artifact[:12]}" if self.adapter else self.base

    @cached_property
    def fingerprint(self) -> str:
        """What names the artifact in a reply."""
        return f"{self.name}@{self.artifact[:12]}"

    @cached_property
    def card(self) -> dict[str, Any]:
        """What /v1/models says of it, besides what it says of the base."""
        return {
            "kind": self.kind,
            "artifact": self.artifact,
            "layout": self.prompt.layout,
            "score": self.score,
            "inputs": {field.name: field.type for field in self.prompt.inputs},
            "outputs": {field.name: field.type for field in self.prompt.outputs},
        }


@dataclass(frozen=True)
class Served:
    """All variants of one base model, by name."""

    base: str
    base_sha256: str | None
    variants: Mapping[str, Variant]
    folder: Path | None = None

    @property
    def names(self) -> str:
        """The models that a client may ask for, for messages."""
        return ", ".join([*self.variants, self.base])


def load(artifacts: Sequence[Path], adapters: Sequence[Path]) -> Served:
    """The variants in best.json files and distilled folders. Raises `UserError`."""
    variants = [read_prompt(path) for path in artifacts] + [read_distilled(path) for path in adapters]
    if not variants:
        here = Path("best.json")
        hint = f"Try: {pasted('serve', here)}" if here.is_file() else "Name a best.json, or a folder with --adapter."
        raise UserError("Nothing to serve.", "", hint)
    first = variants[0]
    table: dict[str, Variant] = {}
    for variant in variants:
        if variant.name in table or variant.name == variant.base:
            raise UserError(
                f"Two models would be called {variant.name}.",
                "A variant is named by its recipe.",
                "Serve one of them, or give its recipe another name.",
            )
        if (variant.base, variant.base_sha256) != (first.base, first.base_sha256):
            raise UserError(
                f"{first.name} and {variant.name} have different base models.",
                f"They are {described(first)} and {described(variant)}; one server holds one.",
                "Serve them on two ports.",
            )
        table[variant.name] = variant
    return Served(first.base, first.base_sha256, table, first.folder)


def read_prompt(path: Path) -> Variant:
    """The variant of a best.json, or of a folder with a merged student."""
    if path.is_dir() and (path / PROMPT).is_file() and (path / WHOLE).is_file():
        return replace(read(path / PROMPT, "distilled"), folder=path)
    if path.is_dir():
        raise UserError(f"{path} is a folder.", "", f"For a distilled folder write: --adapter {path}")
    return read(path, "prompt")


def read_distilled(folder: Path) -> Variant:
    """The variant of a folder that distill wrote."""
    missing = [name for name in (PROMPT, CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing and (folder / "work").is_dir():
        going = pasted("distill", "--resume", folder)
        raise UserError(f"{folder} is not finished.", f"It has no {missing[0]} yet.", f"Go on with it: {going}")
    if missing:
        raise UserError(
            f"{folder} is no distilled folder.",
            f"It has no {' and no '.join(missing)}.",
            "Give the folder that distill wrote.",
        )
    return read(folder / PROMPT, "distilled", read_adapter(folder))


def read_adapter(folder: Path) -> Adapter:
    """The adapter of a distilled folder, its rank one that vLLM takes."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_bytes()[:CONFIG_BYTES])
        rank = config["r"]
        if config["peft_type"] != "LORA" or type(rank) is not int or not 1 <= rank <= RANKS[-1]:
            raise ValueError(f"it is {config['peft_type']} of rank {rank}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} describes no LoRA adapter that vLLM loads.", str(error), "Give the folder that distill wrote."
        ) from error
    weights = file_digest(folder / WEIGHTS)
    return Adapter(folder.resolve(), rank, weights, digest([weights, file_digest(path)]))


def read(path: Path, kind: Kind, adapter: Adapter | None = None) -> Variant:
    """A variant from an artifact file."""
    artifact = read_artifact(path)
    recorded = artifact.get("adapter")
    if adapter and isinstance(recorded, dict) and recorded.get("sha256") != adapter.weights:
        raise UserError(
            f"{adapter.path / WEIGHTS} is not what {path} was written for.",
            "The weights were changed since, so its scores belong to others.",
            "Restore the folder, or distill again.",
        )
    if recorded and not adapter:
        raise UserError(
            f"{path} is the prompt of an adapter.",
            "The base alone would answer under the student's name.",
            f"Serve the folder: {pasted('serve', '--adapter', path.parent)}",
        )
    prompt = Prompt.from_artifact(artifact, str(path))
    name, model = artifact.get("name"), artifact.get("model")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UserError(f"{path} has the name {name!r}.", "A name is letters, digits, _, . and -.", "Mend the file.")
    model = model if isinstance(model, dict) else {"name": prompt.model}
    base, sha256 = model.get("name"), model.get("sha256")
    if not isinstance(base, str) or not isinstance(sha256, str | None):
        raise UserError(f"{path} names no model.", "", "Write it again with optimize or distill.")
    measured = "student" if kind == "distilled" else str(artifact.get("shipped"))
    return Variant(name, kind, prompt, base, sha256, test_score(artifact, measured), adapter, example(artifact, prompt))


def example(artifact: Mapping[str, Any], prompt: Prompt) -> dict[str, Any] | None:
    """The artifact's example, if it holds what the prompt asks for."""
    found = artifact.get("example")
    fits = isinstance(found, dict) and found.keys() == {field.name for field in prompt.inputs}
    return found if fits else None


def test_score(artifact: Mapping[str, Any], measured: str) -> dict[str, Any] | None:
    """The score on test of the arm `measured`: mean, low, high, n. None where test was not read."""
    scores = artifact.get("scores")
    found: Any = scores.get("test") if isinstance(scores, dict) else None
    for key in (measured, "score"):
        found = found.get(key, found) if isinstance(found, dict) else None
    if not isinstance(found, dict) or "mean" not in found:
        return None
    return {key: found[key] for key in ("mean", "low", "high", "n") if isinstance(found.get(key), int | float)}


def described(variant: Variant) -> str:
    """A variant's base model, with the start of its hash."""
    return f"{variant.base} ({variant.base_sha256[:12]})" if variant.base_sha256 else variant.base
