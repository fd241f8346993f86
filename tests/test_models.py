"""Model names: the embedded model, folders, hub ids, and the words for a wrong one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from optimizer import models
from optimizer.errors import UserError


def silent(_line: str) -> None:
    """A `say` for tests that do not look at it."""


def model_folder(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_a_hub_id_is_left_to_the_engine() -> None:
    assert models.resolve("acme/tiny-1b", silent) == models.Model("acme/tiny-1b", "acme/tiny-1b", None)


def test_a_folder_is_named_as_given_and_hashed(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    model = models.resolve(str(folder), silent)
    assert (model.name, model.path, model.is_local) == (str(folder), str(folder), True)
    assert model.sha256 is not None and len(model.sha256) == 64
    assert model.sha256 == models.resolve(str(model_folder(tmp_path / "same")), silent).sha256
    assert model.sha256 != models.resolve(str(model_folder(tmp_path / "other", b"other")), silent).sha256


def test_weights_beyond_the_limit_are_known_by_size_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "HASHED_BYTES", 3)
    folder = model_folder(tmp_path / "big")
    first = models.resolve(str(folder), silent).sha256
    assert models.resolve(str(folder), silent).sha256 == first
    os.utime(folder / "model.safetensors", (1, 1))
    assert models.resolve(str(folder), silent).sha256 != first


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("smollm2-135M", "Unknown model 'smollm2-135M'.\n"
                         "It is not the embedded model, a folder or a hub id (org/name).\n"
                         "Did you mean 'smollm2-135m'?"),
        ("gpt", "Unknown model 'gpt'.\n"
                "It is not the embedded model, a folder or a hub id (org/name).\n"
                "Use 'smollm2-135m', a model folder or a hub id (org/name)."),
        ("/no/such/folder", "No model at /no/such/folder.\n"
                            "The folder does not exist.\n"
                            "Give a model folder or a hub id."),
    ],
)  # fmt: skip
def test_a_wrong_name_says_what_to_do(name: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        models.resolve(name, silent)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("leave_out", "missing"), [("config.json", "config.json"), ("model.safetensors", "*.safetensors")]
)
def test_a_folder_without_a_model_names_what_is_missing(tmp_path: Path, leave_out: str, missing: str) -> None:
    folder = model_folder(tmp_path / "half")
    (folder / leave_out).unlink()
    with pytest.raises(UserError) as caught:
        models.resolve(str(folder), silent)
    assert caught.value.what == f"{folder} is not a model folder."
    assert caught.value.why == f"It lacks {missing}."


@pytest.fixture
def one_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """A cache of its own and a stand-in for the conversion; the call tells how often it ran."""
    monkeypatch.setenv("PROMPTSTILL_CACHE", str(tmp_path / "cache"))
    gguf = tmp_path / models.GGUF
    gguf.write_bytes(b"gguf")
    runs: list[Path] = []

    def convert(_gguf: Path, folder: Path) -> None:
        runs.append(folder)
        model_folder(folder)

    monkeypatch.setattr(models, "_gguf_path", lambda: gguf)
    monkeypatch.setattr(models, "_convert", convert)
    return lambda: len(runs)


def test_the_embedded_model_is_converted_once_into_the_cache(tmp_path: Path, one_conversion: Callable[[], int]) -> None:
    said: list[str] = []
    model = models.resolve("smollm2-135m", said.append)
    assert models.resolve("smollm2-135m", said.append) == model
    assert one_conversion() == 1 and len(said) == 1
    assert Path(model.path).parent == tmp_path / "cache" / "models"
    # The stored digest is the one that the folder would get by its path.
    (Path(model.path) / models.WEIGHTS_DIGEST).unlink()
    assert models.resolve(model.path, silent).sha256 == model.sha256


def test_a_conversion_that_died_half_way_is_swept_and_done_again(
    tmp_path: Path, one_conversion: Callable[[], int]
) -> None:
    model = models.resolve("smollm2-135m", silent)
    left = Path(model.path)
    left.rename(left.with_name(f".{left.name}-dead"))
    assert models.resolve("smollm2-135m", silent) == model
    assert [path.name for path in left.parent.iterdir() if path.is_dir()] == [left.name]
    assert one_conversion() == 2
