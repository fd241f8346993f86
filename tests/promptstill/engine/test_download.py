"""A model of the hub is downloaded before an engine starts: from a small hub on loopback, by the real client."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptstill.engine.download import failure
from promptstill.errors import InfrastructureError
from tests.promptstill.engine.folders import LLAMA_8B
from tests.promptstill.engine.hub import FakeHub, running_hub
from tests.support import ROOT

FILES = {
    "config.json": json.dumps(LLAMA_8B).encode(),
    "model.safetensors": b"w" * 3_000_000,
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    "consolidated.safetensors": b"the same weights",
    "pytorch_model.bin": b"the same weights",
    "original/params.json": b"{}",
    "README.md": b"# Tiny",
}
SCRIPT = """
import json, sys
from promptstill.engine.models import find_model
from promptstill.errors import PromptstillError
try:
    model = find_model(sys.argv[1], lambda line: print(line, file=sys.stderr))
    print(json.dumps([model.name, model.path, model.sha256, model.is_local]))
except PromptstillError as error:
    print(json.dumps([type(error).__name__, error.what, error.why, error.do]))
"""


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    half = {"config.json": b"{}", "pytorch_model.bin": b"weights"}
    with running_hub(FakeHub({"acme/tiny": FILES, "acme/half": half}, gated=("acme/gated",))) as running:
        yield running


class Client:
    """Looks models up in a process of its own, since huggingface_hub reads its environment once."""

    def __init__(self, folder: Path, url: str) -> None:
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("HF_")},
            "HF_HOME": str(folder / "hf"), "HF_ENDPOINT": url, "PROMPTSTILL_CACHE": str(folder / "cache"),
            "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
        }  # fmt: skip

    def find(self, name: str, **environment: str) -> tuple[list[str], list[str]]:
        """What was found or refused, and the lines that were said."""
        argv = [sys.executable, "-c", SCRIPT, name]
        done = subprocess.run(
            argv, env=self.environment | environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr.splitlines()


@pytest.fixture
def client(tmp_path: Path, hub: FakeHub) -> Client:
    return Client(tmp_path, hub.url)


def test_the_files_that_are_needed_are_downloaded_once(client: Client, hub: FakeHub) -> None:
    found, said = client.find("acme/tiny")
    name, path, sha256, local = found
    assert name == "acme/tiny" and local and len(sha256) == 64
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"}
    assert hub.downloaded == wanted == {file.name for file in Path(path).iterdir()}
    assert said[0] == "acme/tiny is a model of the hub: looking for its files"
    assert said[-1] == "acme/tiny: 3.0 of 3.0 MB are here" and not any("it/s" in line for line in said)

    hub.asked.clear()
    again, said = client.find("acme/tiny")
    assert again == found and hub.downloaded == set() and len(said) == 1

    hub.asked.clear()
    assert client.find("acme/tiny", HF_HUB_OFFLINE="1")[0] == found and hub.asked == []


def test_a_hub_that_is_out_of_reach_leaves_what_is_here(client: Client, tmp_path: Path) -> None:
    found, _ = client.find("acme/tiny")
    closed = Client(tmp_path, "http://127.0.0.1:9")
    assert closed.find("acme/tiny")[0] == found
    [kind, what, _, do], _ = closed.find("acme/half")
    assert kind == "InfrastructureError" and "acme/half is not on this machine" in what and "--model ./FOLDER" in do
    [kind, what, _, do], _ = client.find("acme/half", HF_HUB_OFFLINE="1")
    assert kind == "InfrastructureError" and "out of reach" in what and "unset HF_HUB_OFFLINE" in do


@pytest.mark.parametrize(
    ("name", "what", "do"),
    [
        ("acme/other", "The hub has no model acme/other, or it is private.", "set HF_TOKEN"),
        ("acme/gated", "The hub does not give acme/gated to everyone.", "HF_TOKEN"),
        ("acme/half", "is not a model folder.", "save_pretrained"),
    ],
)
def test_what_the_hub_does_not_give_is_the_users_matter(client: Client, name: str, what: str, do: str) -> None:
    [kind, found, why, way_out], _ = client.find(name)
    assert kind == "UserError" and what in found and do in way_out
    assert why


def test_a_full_disk_and_an_interrupted_transfer_say_what_to_do() -> None:
    full = failure("acme/tiny", OSError(errno.ENOSPC, "No space left on device"))
    assert isinstance(full, InfrastructureError) and "HF_HOME" in full.do
    cut = failure("acme/tiny", ConnectionError("peer closed\nmore"))
    assert cut.why == "ConnectionError: peer closed" and "what is here already is kept" in cut.do
